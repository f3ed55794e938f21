"""Files with one GRU node, made by hand: every attribute, every home of a weight."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import common
import gru_operator

STEPS, BATCH, INPUTS, HIDDEN = 4, 3, 3, 2


def typed(name, value):
    """The tensor in the typed field of its element type instead of raw bytes."""
    return helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.ravel().tolist())


def typed16(name, value, data_type):
    """16-bit elements in int32_data."""
    tensor = TensorProto(name=name, data_type=data_type, dims=value.shape)
    tensor.int32_data.extend(int(v) for v in value.view(np.uint16).ravel())
    return tensor


def bfloat16(name, value):
    """float32 values that are exact in bfloat16, as its upper halves."""
    halves = (value.view(np.uint32) >> 16).astype(np.uint16)
    return TensorProto(name=name, data_type=TensorProto.BFLOAT16, dims=value.shape, raw_data=halves.tobytes())


def upper_half(value):
    return (value.view(np.uint32) & 0xFFFF0000).view(np.float32)


def weights(name, directions=1, bias=True, hidden=HIDDEN):
    rng = common.rng_for("onnx:" + name)
    shapes = {"W": (directions, 3 * hidden, INPUTS), "R": (directions, 3 * hidden, hidden), "B": (directions, 6 * hidden)}
    return {n: common.draw(rng, s, 1.0, bits=8) for n, s in shapes.items() if bias or n != "B"}


def model(nodes, initializers=(), inputs=(), outputs=("Y", "Y_h"), opset=14, ir=8, producer="wgru tests"):
    x = helper.make_tensor_value_info("X", TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "g", [x, *inputs], [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs], list(initializers)
    )
    return helper.make_model(graph, producer_name=producer, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def run_onnxruntime(made, x, lengths, h0):
    # onnxruntime wants the attribute that the operator leaves optional.
    stated = onnx.ModelProto()
    stated.CopyFrom(made)
    node = next(n for n in stated.graph.node if n.op_type == "GRU")
    if not any(a.name == "hidden_size" for a in node.attribute):
        node.attribute.append(helper.make_attribute("hidden_size", HIDDEN))
    session = onnxruntime.InferenceSession(stated.SerializeToString(), providers=["CPUExecutionProvider"])
    kind = {"tensor(float)": np.float32, "tensor(double)": np.float64}[session.get_inputs()[0].type]
    feeds = {"X": x.astype(kind)}
    for i in session.get_inputs()[1:]:
        if i.name == "lens":
            feeds["lens"] = np.array(lengths, np.int32)
        elif i.name == "h0":
            feeds["h0"] = h0.astype(kind)
    y, y_h = session.run(["Y", "Y_h"], feeds)
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], -1), y_h


def case(folder, name, attributes=None, *, bias=True, opset=14, ir=8, store=numpy_helper.from_array, cast=None, lengths=None,
         h0=False, inputs=("X", "W", "R", "B"), node_name="gru", constants=False, declare=False, identity=False, ort=True, options=None, kind=np.float32):
    """`store(value, name)` makes the tensor; `cast` gives the value as stored."""
    attributes = attributes or {}
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    values = {n: v.astype(kind) for n, v in weights(name, directions, bias).items()}
    stored = {n: (v if cast is None else cast(v)) for n, v in values.items()}
    rng = common.rng_for("onnx:" + name + ":input")
    x = common.draw(rng, (STEPS, BATCH, INPUTS), 2.0, bits=8)
    start = common.draw(rng, (directions, BATCH, HIDDEN), 1.0, bits=8) if h0 else None
    names = [n for n in inputs if bias or n != "B"]
    graph_inputs, nodes = [], []
    if lengths is not None or h0:
        names = ["X", "W", "R", "B" if bias else "", "lens" if lengths is not None else "", *(["h0"] if h0 else [])]
        if lengths is not None:
            graph_inputs.append(helper.make_tensor_value_info("lens", TensorProto.INT32, [BATCH]))
        if h0:
            graph_inputs.append(helper.make_tensor_value_info("h0", TensorProto.FLOAT, [directions, BATCH, HIDDEN]))
    tensors = [store(v, n) for n, v in stored.items()]
    if declare:
        graph_inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    if constants:
        nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors]
        tensors = []
    if identity:
        names = [n + "_again" if n in stored else n for n in names]
        nodes += [helper.make_node("Identity", [n], [n + "_again"]) for n in stored]
    nodes.append(helper.make_node("GRU", names, ["Y", "Y_h"], name=node_name, **attributes))
    made = model(nodes, tensors, graph_inputs, opset=opset, ir=ir)
    if kind == np.float64:
        made.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
        for o in made.graph.output:
            o.type.tensor_type.elem_type = TensorProto.DOUBLE
    file = folder / f"{name}.onnx"
    onnx.save(made, file)
    as_float = {n: v.astype(np.float64) for n, v in stored.items()}
    result = gru_operator.gru(x, as_float["W"], as_float["R"], as_float.get("B"), lengths, start, **attributes)
    if ort:
        run = run_onnxruntime(made, x, lengths, start)
        difference = common.difference(result, run)
        assert difference < 1e-5, f"{name}: onnxruntime differs by {difference}"
        print(f"{name:40} onnxruntime {difference:.1e}")
    else:
        print(f"{name:40} onnxruntime -")
    config = common.gru_config(INPUTS, HIDDEN, 1, directions == 2, bias, "after" if attributes.get("linear_before_reset") else "before", "onnx")
    config["direction"] = attributes.get("direction", "forward")
    return common.case_json(name, config, x, result, None, start, lengths, file=file.name, options=options or {})


def cases(folder):
    def make(*arguments, **more):
        return case(folder, *arguments, **more)

    yield make("forward")
    yield make("after", {"linear_before_reset": 1, "hidden_size": HIDDEN})
    yield make("reverse", {"direction": "reverse", "hidden_size": HIDDEN})
    yield make("bidirectional", {"direction": "bidirectional", "hidden_size": HIDDEN})
    yield make("bidirectional_after", {"direction": "bidirectional", "linear_before_reset": 1})
    yield make("no_bias", {"hidden_size": HIDDEN}, bias=False)
    yield make("empty_optional_inputs", bias=False, inputs=("X", "W", "R", "", "", ""))
    yield make("layout_1", {"layout": 1}, ort=False)
    yield make("clip", {"clip": 0.3, "linear_before_reset": 1})
    yield make("lengths_and_state", {"direction": "bidirectional", "linear_before_reset": 1}, lengths=[2, 4, 1], h0=True)
    yield make("state", {}, h0=True)
    both = ["HardSigmoid", "tanh", "SIGMOID", "LeakyRelu"]
    yield make("activations_each_direction", {"direction": "bidirectional", "activations": both, "activation_alpha": [0.25, 0.125], "activation_beta": [0.375]})
    for function, parameters in [
        ("Relu", {}), ("LeakyRelu", {"alpha": [0.25]}), ("ThresholdedRelu", {"alpha": [0.125]}), ("Elu", {"alpha": [0.5]}), ("HardSigmoid", {}),
        ("Softsign", {}), ("Softplus", {}), ("Affine", {"alpha": [0.5], "beta": [0.25]}), ("ScaledTanh", {"alpha": [1.5], "beta": [0.5]}),
    ]:
        attributes = {"activations": ["Sigmoid", function], **{f"activation_{k}": v for k, v in parameters.items()}}
        yield make("candidate_" + function.lower(), attributes)
    yield make("opset_1", {"hidden_size": HIDDEN, "output_sequence": 1}, opset=1, ir=3, declare=True, ort=False)
    yield make("opset_3", {"hidden_size": HIDDEN, "linear_before_reset": 1, "output_sequence": 1}, opset=3, ir=3, declare=True, ort=False)
    yield make("opset_7", {"hidden_size": HIDDEN, "linear_before_reset": 1}, opset=7, ir=4)
    yield make("opset_22", {"hidden_size": HIDDEN, "linear_before_reset": 1}, opset=22, ir=10)
    yield make("typed_fields", store=lambda v, n: typed(n, v))
    yield make("constant_nodes", constants=True)
    yield make("identity_nodes", identity=True)
    yield make("initializers_are_inputs", ir=3, opset=8, declare=True)
    yield make("unnamed_node", node_name="")
    yield make("double", kind=np.float64, ort=False, cast=lambda v: v + 2.0**-40)
    yield make("double_typed_fields", kind=np.float64, ort=False, cast=lambda v: v + 2.0**-40, store=lambda v, n: typed(n, v))
    yield make("float16", cast=lambda v: v.astype(np.float16), ort=False)
    yield make("float16_typed_fields", cast=lambda v: v.astype(np.float16), ort=False, store=lambda v, n: typed16(n, v, TensorProto.FLOAT16))
    yield make("bfloat16", cast=upper_half, ort=False, store=lambda v, n: bfloat16(n, v))


def save_external(folder, name, location):
    """A file whose weights are all in another one, `location`."""
    values = weights(name)
    made = model([helper.make_node("GRU", ["X", "W", "R", "B"], ["Y", "Y_h"], name="gru")], [numpy_helper.from_array(v, n) for n, v in values.items()])
    onnx.save(made, folder / f"{name}.onnx", save_as_external_data=True, location=location, size_threshold=0)
    return values
