"""Files as PyTorch's two exporters write them, and files that only look like them."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import common
import gru_operator
import operator_cases

STEPS, BATCH, INPUTS, HIDDEN = 5, 2, 3, 2


class Wrapped(torch.nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.rnn = torch.nn.GRU(INPUTS, HIDDEN, **options)

    def forward(self, x, h0=None):
        return self.rnn(x) if h0 is None else self.rnn(x, h0)


def export(folder, name, options, h0, dynamo, dynamic=False, external=False, opset=None):
    """Exports an nn.GRU; gives the case that its file must satisfy."""
    rng = common.rng_for("torch:" + name.removesuffix("_dynamo").removesuffix("_torchscript"))
    module = Wrapped(**options).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.from_numpy(common.draw(rng, tuple(parameter.shape), 1.0, bits=8)))
    layers, directions = options.get("num_layers", 1), 2 if options.get("bidirectional") else 1
    x = common.draw(rng, (STEPS, BATCH, INPUTS), 2.0, bits=8)
    state = common.draw(rng, (layers * directions, BATCH, HIDDEN), 1.0, bits=8) if h0 else None
    turned = x.transpose(1, 0, 2) if options.get("batch_first") else x
    arguments = (torch.from_numpy(turned.copy()),) + (() if state is None else (torch.from_numpy(state),))
    file = folder / f"{name}.onnx"
    first = options.get("batch_first", False)
    if dynamo:
        shapes = None
        if dynamic:
            steps, batch = torch.export.Dim("steps"), torch.export.Dim("batch")
            shapes = ({0: batch, 1: steps} if first else {0: steps, 1: batch},) + (({1: batch},) if h0 else ())
        torch.onnx.export(module, arguments, file, dynamo=True, external_data=False, dynamic_shapes=shapes, verbose=False)
    else:
        names = ["x", "h0"][: len(arguments)]
        axes = {"x": {0: "a", 1: "b"}, "h0": {1: "b"}} if dynamic else None
        torch.onnx.export(module, arguments, str(file), dynamo=False, input_names=names, dynamic_axes=axes, opset_version=opset)
    strip(file, external)
    with torch.no_grad():
        output, final = module.double()(*(a.double() for a in arguments))
    output = output.numpy().transpose(1, 0, 2) if first else output.numpy()
    config = common.gru_config(INPUTS, HIDDEN, layers, directions == 2, options.get("bias", True), "after", "onnx")
    config["direction"] = "bidirectional" if directions == 2 else "forward"
    print(f"{name:40} exported")
    return common.case_json(name, config, x, (output, final.numpy()), None, state, None, file=file.name, options={})


def strip(file, external):
    """Drops what carries this machine's paths or serves people only: names of source files, descriptions."""
    model = onnx.load(file, load_external_data=False)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    model.graph.doc_string = model.doc_string = ""
    if external:
        # As the exporter saves larger tensors. The package does not write over another file.
        (file.parent / (file.name + ".data")).unlink(missing_ok=True)
        onnx.save(model, file, save_as_external_data=True, location=file.name + ".data", size_threshold=0)
    else:
        onnx.save(model, file)


def two_layers(folder, name):
    """A file of two chained nodes to be spoilt."""
    export(folder, name, {"num_layers": 2}, True, False)
    model = onnx.load(folder / f"{name}.onnx")
    grus = [n for n in model.graph.node if n.op_type == "GRU"]
    return model, grus


def spoil(folder):
    """Chains that are not exactly those of one nn.GRU: each has two GRUs that must stay apart."""
    made = []

    def save(name, model):
        onnx.save(model, folder / f"{name}.onnx")
        made.append(name)

    model, grus = two_layers(folder, "apart_reset_forms")
    next(a for a in grus[1].attribute if a.name == "linear_before_reset").i = 0
    save("apart_reset_forms", model)

    model, grus = two_layers(folder, "apart_middle_is_output")
    model.graph.output.append(helper.make_tensor_value_info(grus[1].input[0], TensorProto.FLOAT, None))
    save("apart_middle_is_output", model)

    model, grus = two_layers(folder, "apart_middle_is_used")
    model.graph.node.append(helper.make_node("Relu", [grus[1].input[0]], ["rectified"]))
    model.graph.output.append(helper.make_tensor_value_info("rectified", TensorProto.FLOAT, None))
    save("apart_middle_is_used", model)

    model, grus = two_layers(folder, "apart_something_between")
    index = next(i for i, n in enumerate(model.graph.node) if n is grus[1] or n.name == grus[1].name)
    model.graph.node.insert(index, helper.make_node("Relu", [grus[1].input[0]], ["rectified"]))
    model.graph.node[index + 1].input[0] = "rectified"
    save("apart_something_between", model)

    model, grus = two_layers(folder, "apart_states_swapped")
    grus[0].input[5], grus[1].input[5] = grus[1].input[5], grus[0].input[5]
    save("apart_states_swapped", model)

    model, grus = two_layers(folder, "apart_final_states_swapped")
    concat = next(n for n in model.graph.node if n.op_type == "Concat")
    concat.input[0], concat.input[1] = concat.input[1], concat.input[0]
    save("apart_final_states_swapped", model)

    model, grus = two_layers(folder, "apart_squeezed_axis")
    squeeze = next(n for n in model.graph.node if n.op_type == "Squeeze")
    constant = next(n for n in model.graph.node if squeeze.input[1] in n.output)
    constant.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([0], np.int64)))
    save("apart_squeezed_axis", model)

    export(folder, "apart_reshaped", {"num_layers": 2, "bidirectional": True}, False, True)
    model = onnx.load(folder / "apart_reshaped.onnx")
    reshape = next(n for n in model.graph.node if n.op_type == "Reshape")
    shape = next(t for t in model.graph.initializer if t.name == reshape.input[1])
    shape.CopyFrom(numpy_helper.from_array(np.array([BATCH, STEPS, 2 * HIDDEN], np.int64), shape.name))
    save("apart_reshaped", model)
    return made


def faulty(folder):
    """A file as the faulty exporter wrote it: reset-before in place of reset-after."""
    name = "faulty_exporter"
    case = export(folder, name, {}, False, True)
    file = folder / f"{name}.onnx"
    model = onnx.load(file)
    node = next(n for n in model.graph.node if n.op_type == "GRU")
    next(a for a in node.attribute if a.name == "linear_before_reset").i = 0
    onnx.save(model, file)
    yield {**case, "options": {"reset": "after"}}
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    x = np.array(case["input"]["data"]).reshape(case["input"]["shape"])
    result = gru_operator.gru(x, *(tensors[n] for n in node.input[1:4]))
    yield common.case_json(name + "_as_written", {**case["config"], "reset": "before"}, x, result, file=file.name, options={})


def cases(folder):
    table = [
        ("one_layer", {}, False, {}),
        ("one_layer_bidirectional_state", {"bidirectional": True}, True, {}),
        ("two_layers", {"num_layers": 2}, False, {}),
        ("two_layers_state", {"num_layers": 2}, True, {}),
        ("two_layers_bidirectional_batch_first", {"num_layers": 2, "bidirectional": True, "batch_first": True}, False, {}),
        ("three_layers_no_bias_state", {"num_layers": 3, "bidirectional": True, "batch_first": True, "bias": False}, True, {}),
        ("two_layers_any_shape", {"num_layers": 2, "bidirectional": True}, False, {"dynamic": True}),
        ("two_layers_any_shape_state", {"num_layers": 2, "batch_first": True}, True, {"dynamic": True}),
    ]
    for name, options, h0, more in table:
        yield export(folder, f"{name}_torchscript", options, h0, False, **more)
        yield export(folder, f"{name}_dynamo", options, h0, True, **more)
    yield export(folder, "two_layers_opset_11_torchscript", {"num_layers": 2}, True, False, opset=11)
    yield export(folder, "external_data_dynamo", {"num_layers": 2}, False, True, external=True)
    yield from faulty(folder)
    spoil(folder)
    # Two separate GRUs in one file.
    values = [operator_cases.weights(f"two_grus_{i}") for i in range(2)]
    nodes = [helper.make_node("GRU", ["X", f"W{i}", f"R{i}", f"B{i}"], [f"Y{i}", ""], name=f"gru_{i}") for i in range(2)]
    tensors = [numpy_helper.from_array(v, f"{n}{i}") for i in range(2) for n, v in values[i].items()]
    onnx.save(operator_cases.model(nodes, tensors, outputs=("Y0", "Y1")), folder / "two_grus.onnx")
