"""Files that must be refused, each with the kind of error and words of its message."""

import onnx
import numpy as np
from onnx import TensorProto, helper, numpy_helper

import operator_cases
from operator_cases import BATCH, HIDDEN, INPUTS

ALL = ["X", "W", "R", "B"]


def node(inputs=ALL, **attributes):
    return helper.make_node("GRU", list(inputs), ["Y", "Y_h"], name="gru", **attributes)


def tensors(**replaced):
    values = operator_cases.weights("refused")
    return [replaced.get(n, numpy_helper.from_array(v, n)) for n, v in values.items() if replaced.get(n, v) is not None]


def with_attribute(attribute):
    made = node()
    made.attribute.append(attribute)
    return made


def external(location, offset=None, length=None):
    tensor = TensorProto(name="W", data_type=TensorProto.FLOAT, dims=[1, 3 * HIDDEN, INPUTS], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return tensor


def table(folder):
    folder.mkdir(exist_ok=True)
    rows = []

    def add(name, kind, words, nodes=None, initializers=None, **more):
        made = operator_cases.model(nodes or [node()], tensors() if initializers is None else initializers, **more)
        onnx.save(made, folder / f"{name}.onnx")
        rows.append({"file": f"{name}.onnx", "kind": kind, "words": words})
        return made

    raw = lambda name, shape, data, data_type=TensorProto.FLOAT: TensorProto(name=name, dims=shape, data_type=data_type, raw_data=data)
    w_bytes = 4 * 3 * HIDDEN * INPUTS
    w_shape = [1, 3 * HIDDEN, INPUTS]

    # Attributes.
    add("unknown_attribute", "Unsupported", ["colour", "opset 14"], [node(colour=1)])
    add("layout_in_opset_7", "Unsupported", ["layout", "opset 7"], [node(layout=1)], opset=7)
    add("reset_in_opset_1", "Unsupported", ["linear_before_reset", "opset 1"], [node(linear_before_reset=1)], opset=1, ir=3)
    add("output_sequence_in_opset_14", "Unsupported", ["output_sequence"], [node(output_sequence=1)])
    add("unknown_activation", "Unsupported", ["Swish", "Sigmoid"], [node(activations=["Sigmoid", "Swish"])])
    add("own_activation_name", "Unsupported", ["hard_sigmoid"], [node(activations=["hard_sigmoid", "Tanh"])])
    add("too_few_activations", "InvalidFile", ["activations", "2", "1: Tanh"], [node(activations=["Tanh"])])
    add("too_many_parameters", "Unsupported", ["activation_alpha", "2"], [node(activations=["Sigmoid", "LeakyRelu"], activation_alpha=[0.1, 0.2])])
    add("parameters_alone", "InvalidFile", ["activation_alpha", "activations"], [node(activation_alpha=[0.1])])
    add("direction_unknown", "InvalidFile", ["direction", "'sideways'"], [node(direction="sideways")])
    add("direction_is_a_number", "InvalidFile", ["direction", "string"], [node(direction=1)])
    add("reset_is_two", "InvalidFile", ["linear_before_reset", "2"], [node(linear_before_reset=2)])
    add("clip_is_negative", "InvalidConfig", ["clip", "-1"], [node(clip=-1.0)])
    add("clip_is_an_integer", "InvalidFile", ["clip", "number"], [node(clip=1)])
    add("hidden_size_differs", "InvalidWeights", ["hidden_size is 7", "R"], [node(hidden_size=7)])
    twice = with_attribute(helper.make_attribute("clip", 1.0))
    twice.attribute.append(helper.make_attribute("clip", 2.0))
    add("attribute_twice", "InvalidFile", ["clip", "twice"], [twice])
    reference = onnx.AttributeProto(name="clip", ref_attr_name="outer", type=onnx.AttributeProto.FLOAT)
    add("attribute_of_a_function", "Unsupported", ["clip", "function"], [with_attribute(reference)])

    # Operator sets.
    add("opset_23", "Unsupported", ["1 to 22", "23"], opset=23)
    add("opset_0", "Unsupported", ["1 to 22", "0"], opset=0)
    made = add("no_opset", "InvalidFile", ["operator set"])
    del made.opset_import[:]
    onnx.save(made, folder / "no_opset.onnx")

    # Where weights come from.
    x = helper.make_tensor_value_info("W", TensorProto.FLOAT, w_shape)
    add("weights_from_the_caller", "Unsupported", ["W (W)", "caller"], initializers=tensors(W=None), inputs=[x])
    whole = numpy_helper.from_array(np.zeros(w_shape, np.float32), "whole")
    relu = helper.make_node("Relu", ["whole"], ["W"], name="rectify")
    add("weights_are_computed", "Unsupported", ["W (W)", "computed", "'rectify'", "Relu"], [relu, node()], tensors(W=None) + [whole])
    add("weights_are_nowhere", "InvalidWeights", ["W (W)", "nowhere"], initializers=tensors(W=None))
    add("weights_are_left_out", "InvalidWeights", ["R is missing"], [node(["X", "W", ""])])
    identities = [helper.make_node("Identity", ["b"], ["W"]), helper.make_node("Identity", ["W"], ["b"])]
    add("weights_in_a_circle", "InvalidWeights", ["W (W)"], [*identities, node()], tensors(W=None))
    sparse = operator_cases.model([node()], tensors(W=None))
    entry = sparse.graph.sparse_initializer.add(dims=w_shape)
    entry.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "W"))
    entry.indices.CopyFrom(numpy_helper.from_array(np.zeros(1, np.int64), "W_at"))
    onnx.save(sparse, folder / "weights_are_sparse.onnx")
    rows.append({"file": "weights_are_sparse.onnx", "kind": "Unsupported", "words": ["W (W)", "sparse"]})

    # What weights are.
    add("integer_weights", "InvalidWeights", ["W", "INT32"], initializers=tensors(W=raw("W", w_shape, bytes(w_bytes), TensorProto.INT32)))
    add("unknown_type", "InvalidWeights", ["W", "99"], initializers=tensors(W=raw("W", w_shape, bytes(w_bytes), 99)))
    add("short_raw_data", "InvalidWeights", ["W", str(w_bytes), str(w_bytes - 1)], initializers=tensors(W=raw("W", w_shape, bytes(w_bytes - 1))))
    add("no_data", "InvalidWeights", ["W", "float_data has 0"], initializers=tensors(W=TensorProto(name="W", dims=w_shape, data_type=1)))
    short = TensorProto(name="W", dims=w_shape, data_type=1, float_data=[1.0, 2.0])
    add("short_typed_data", "InvalidWeights", ["W", "18 elements", "has 2"], initializers=tensors(W=short))
    wide = TensorProto(name="W", dims=w_shape, data_type=10, int32_data=[70000] * 18)
    add("wide_half", "InvalidWeights", ["W", "16 bits"], initializers=tensors(W=wide))
    add("negative_dimension", "InvalidWeights", ["W", "-6"], initializers=tensors(W=raw("W", [1, -6, -3], bytes(w_bytes))))
    add("huge_dimensions", "InvalidShape", ["W", "memory"], initializers=tensors(W=raw("W", [1, 2**62, 2**62], b"")))
    add("empty_huge_dimensions", "InvalidConfig", ["input_size"], initializers=tensors(W=raw("W", [0, 6, 2**60], b"")))
    segmented = raw("W", w_shape, bytes(w_bytes))
    segmented.segment.begin, segmented.segment.end = 0, 9
    add("segmented", "Unsupported", ["W", "segments"], initializers=tensors(W=segmented))
    add("wrong_rank", "InvalidWeights", ["[D, 3H, I]", "W has [6, 3]"], initializers=tensors(W=raw("W", [6, 3], bytes(w_bytes))))
    add("wrong_rows", "InvalidWeights", ["W (W)", "[1, 6, 3]", "[1, 9, 2]"], initializers=tensors(W=raw("W", [1, 9, 2], bytes(w_bytes)), R=numpy_helper.from_array(np.ones((1, 6, 2), np.float32), "R")))
    rows[-1]["words"] = ["W (W)", "[D, 3H, I] = [1, 6, 2]", "[1, 9, 2]"]
    add("wrong_bias", "InvalidWeights", ["B (B)", "[D, 6H] = [1, 12]", "[1, 6]"], initializers=tensors(B=raw("B", [1, 6], bytes(24))))
    add("two_directions_of_weights", "InvalidWeights", ["W (W)", "[1, 6, 3]"], [node(direction="bidirectional")])
    rows[-1]["words"] = ["W (W)", "[2, 6, 3]", "[1, 6, 3]"]
    add("not_a_number", "InvalidWeights", ["R", "NaN", "[0, 2, 1]"], initializers=tensors(R=numpy_helper.from_array(np.array([0, 0, 0, 0, 0, np.nan] + [0] * 6, np.float32).reshape(1, 6, 2), "R")))
    add("name_twice", "InvalidFile", ["two initializers", "'W'"], initializers=tensors() + tensors()[:1])
    add("output_twice", "InvalidFile", ["two nodes", "'Y'"], [node(), helper.make_node("Relu", ["X"], ["Y"])])

    # Lengths and states that the file fixes.
    lens = numpy_helper.from_array(np.array([1, 2, 3], np.int32), "lens")
    add("fixed_lengths", "Unsupported", ["sequence_lens", "lens"], [node([*ALL, "lens"])], tensors() + [lens])
    state = numpy_helper.from_array(np.ones((1, BATCH, HIDDEN), np.float32), "learned")
    add("learned_state", "Unsupported", ["initial_h", "learned"], [node([*ALL, "", "learned"])], tensors() + [state])

    # Other files.
    for name, location, words in [
        ("external_parent", "../two_grus.onnx", ["'../two_grus.onnx'", "own folder"]),
        ("external_hidden_parent", "a/../../two_grus.onnx", ["own folder"]),
        ("external_absolute", "/etc/passwd", ["'/etc/passwd'", "own folder"]),
        ("external_drive", "C:weights.bin", ["own folder"]),
        ("external_backslashes", "..\\two_grus.onnx", ["own folder"]),
        ("external_empty", "", ["own folder"]),
        ("external_missing", "nowhere.bin", ["'nowhere.bin'"]),
    ]:
        add(name, "Unsupported", ["W", *words], initializers=tensors(W=external(location)))
    add("external_folder", "Io", ["W", "directory"], initializers=tensors(W=external(".")))
    add("external_without_location", "InvalidFile", ["W", "location"], initializers=tensors(W=external(None)))
    add("external_offset_past_the_end", "InvalidFile", ["W", "100000"], initializers=tensors(W=external("external_parent.onnx", 100000)))
    add("external_offset_overflows", "InvalidFile", ["W", str(2**64 - 1)], initializers=tensors(W=external("external_parent.onnx", 2**64 - 1)))
    add("external_offset_is_negative", "InvalidFile", ["W", "offset", "'-4'"], initializers=tensors(W=external("external_parent.onnx", -4)))
    add("external_length_differs", "InvalidFile", ["W", str(w_bytes), "8"], initializers=tensors(W=external("external_parent.onnx", 0, 8)))

    # Files without a GRU that could be read.
    add("no_gru", "InvalidWeights", ["none of them a GRU"], [helper.make_node("Relu", ["X"], ["Y"])], [], outputs=("Y",))
    other = node()
    other.domain = "elsewhere"
    add("gru_of_another_domain", "InvalidWeights", ["none of them a GRU"], [other])
    inner = helper.make_graph([node()], "body", [], [helper.make_tensor_value_info("Y", TensorProto.FLOAT, None)])
    branch = helper.make_node("If", ["flag"], ["Z"], name="choose", then_branch=inner, else_branch=inner)
    add("gru_in_a_branch", "Unsupported", ["'choose'", "main graph"], [branch], outputs=("Z",))
    return rows
