"""Independent implementations of the GRU that the goldens are computed with.

All of them work in float64 on the tensors of one case and return
`(output [T, B, D*H], final_state [L*D, B, H])`:

- `run_torch`: `torch.nn.GRU` / `torch.nn.GRUCell` (reset-after only);
- `run_onnx_reference`: `onnx.reference`, one GRU operator per layer, direction
  and row (both reset forms);
- `run_onnxruntime`: onnxruntime in float32 with the operator's own
  `direction` and `sequence_lens` (both reset forms, no reset mask);
- `run_textbook`: the four textbook equations in numpy.
"""

import functools

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

OPSET = 22


def split_at_resets(mask_column, length):
    """`(start, stop, reset)` of the runs of one row; `reset` says whether the state is zeroed before `start`."""
    starts = [0] + [t for t in range(1, length) if mask_column[t]]
    stops = starts[1:] + [length]
    return [(a, b, bool(mask_column[a])) for a, b in zip(starts, stops)]


def run_torch(config, tensors, x, h0, lengths, mask):
    steps, batch, _ = x.shape
    hidden, layers = config["hidden_size"], config["num_layers"]
    directions = 2 if config["bidirectional"] else 1
    weights = {name: torch.from_numpy(value.astype(np.float64)) for name, value in tensors.items()}
    x = torch.from_numpy(x.astype(np.float64))
    if "weight_ih" in tensors:
        return run_torch_cell(config, weights, x, h0)
    gru = torch.nn.GRU(
        config["input_size"], hidden, layers, bias=config["bias"],
        bidirectional=config["bidirectional"], dtype=torch.float64,
    )
    gru.load_state_dict(weights, strict=True)
    start = torch.zeros(layers * directions, batch, hidden, dtype=torch.float64)
    if h0 is not None:
        start = torch.from_numpy(h0.astype(np.float64))
    output = torch.zeros(steps, batch, directions * hidden, dtype=torch.float64)
    final = start.clone()
    with torch.no_grad():
        if mask is not None:
            for row in range(batch):
                length = steps if lengths is None else int(lengths[row])
                state = start[:, row : row + 1].contiguous()
                for a, b, reset in split_at_resets(mask[:, row], length):
                    state = torch.zeros_like(state) if reset else state
                    y, state = gru(x[a:b, row : row + 1].contiguous(), state)
                    output[a:b, row : row + 1] = y
                final[:, row : row + 1] = state
        elif lengths is not None:
            # torch refuses length 0: such a row keeps output 0 and its initial state.
            rows = torch.tensor([b for b in range(batch) if lengths[b] > 0])
            packed = torch.nn.utils.rnn.pack_padded_sequence(
                x[:, rows], torch.tensor(lengths)[rows], enforce_sorted=False
            )
            y, state = gru(packed, start[:, rows].contiguous())
            y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=steps)
            output[:, rows] = y
            final[:, rows] = state
        else:
            output, final = gru(x, start)
    return output.numpy(), final.numpy()


def run_torch_cell(config, weights, x, h0):
    cell = torch.nn.GRUCell(config["input_size"], config["hidden_size"], bias=config["bias"], dtype=torch.float64)
    cell.load_state_dict(weights, strict=True)
    h = torch.zeros(x.shape[1], config["hidden_size"], dtype=torch.float64)
    if h0 is not None:
        h = torch.from_numpy(h0[0].astype(np.float64))
    output = []
    with torch.no_grad():
        for x_t in x:
            h = cell(x_t, h)
            output.append(h)
    return torch.stack(output).numpy(), h[None].numpy()


def layer_tensors(config, tensors, layer, reverse):
    """`(W_ih, W_hh, b_ih, b_hh)` of one layer and direction, gates r, z, n; absent biases are zero."""
    suffix = "" if "weight_ih" in tensors else f"_l{layer}" + ("_reverse" if reverse else "")
    zeros = np.zeros(3 * config["hidden_size"])
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    return [tensors.get(name + suffix, zeros).astype(np.float64) for name in names]


def to_onnx_order(value):
    """Rows of the gates r, z, n to ONNX's z, r, n."""
    r, z, n = np.split(value, 3)
    return np.concatenate([z, r, n])


def onnx_weights(config, tensors, layer, reverse):
    w_ih, w_hh, b_ih, b_hh = layer_tensors(config, tensors, layer, reverse)
    bias = np.concatenate([to_onnx_order(b_ih), to_onnx_order(b_hh)])
    return to_onnx_order(w_ih), to_onnx_order(w_hh), bias


def onnx_model(hidden, linear_before_reset, direction, element, with_lengths):
    inputs = ["X", "W", "R", "B", "sequence_lens" if with_lengths else "", "initial_h"]
    node = helper.make_node(
        "GRU", inputs, ["Y", "Y_h"], hidden_size=hidden,
        linear_before_reset=linear_before_reset, direction=direction,
    )
    def info_of(name, rank, kind=element):
        return helper.make_tensor_value_info(name, kind, [None] * rank)

    info = [info_of("X", 3), info_of("W", 3), info_of("R", 3), info_of("B", 2), info_of("initial_h", 3)]
    if with_lengths:
        info.append(info_of("sequence_lens", 1, TensorProto.INT32))
    outputs = [info_of("Y", 4), info_of("Y_h", 3)]
    graph = helper.make_graph([node], "gru", info, outputs)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


@functools.cache
def reference_evaluator(hidden, linear_before_reset):
    return ReferenceEvaluator(onnx_model(hidden, linear_before_reset, "forward", TensorProto.DOUBLE, False))


def run_onnx_reference(config, tensors, x, h0, lengths, mask):
    """Chains forward operators by hand: layers one after another, reverse directions by flipping, rows alone."""
    steps, batch, _ = x.shape
    hidden, layers = config["hidden_size"], config["num_layers"]
    directions = 2 if config["bidirectional"] else 1
    evaluator = reference_evaluator(hidden, int(config["reset"] == "after"))
    output = np.zeros((steps, batch, directions * hidden))
    final = np.zeros((layers * directions, batch, hidden))
    if h0 is not None:
        final[:] = h0

    def run(weights, sequence, state):
        w, r, b = weights
        with np.errstate(over="ignore"):
            y, y_h = evaluator.run(None, {
                "X": sequence[:, None], "W": w[None], "R": r[None], "B": b[None], "initial_h": state[None, None],
            })
        return y[:, 0, 0], y_h[0, 0]

    for row in range(batch):
        length = steps if lengths is None else int(lengths[row])
        if length == 0:
            continue
        runs = [(0, length, False)] if mask is None else split_at_resets(mask[:, row], length)
        sequence = x[:length, row].astype(np.float64)
        for layer in range(layers):
            halves = []
            for reverse in range(directions):
                weights = onnx_weights(config, tensors, layer, bool(reverse))
                slot = layer * directions + reverse
                state, parts = final[slot, row], []
                source = sequence[::-1] if reverse else sequence
                for a, b, reset in runs:
                    y, state = run(weights, source[a:b], np.zeros(hidden) if reset else state)
                    parts.append(y)
                final[slot, row] = state
                y = np.concatenate(parts)
                halves.append(y[::-1] if reverse else y)
            sequence = np.concatenate(halves, axis=1)
        output[:length, row] = sequence
    return output, final


@functools.cache
def runtime_session(hidden, linear_before_reset, direction, with_lengths):
    model = onnx_model(hidden, linear_before_reset, direction, TensorProto.FLOAT, with_lengths)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run_onnxruntime(config, tensors, x, h0, lengths):
    """In float32: accurate to about 1e-6, so a cross-check only. All lengths must be positive."""
    batch, hidden = x.shape[1], config["hidden_size"]
    directions = 2 if config["bidirectional"] else 1
    session = runtime_session(
        hidden, int(config["reset"] == "after"),
        "bidirectional" if directions == 2 else "forward", lengths is not None,
    )
    sequence, final = x.astype(np.float32), []
    for layer in range(config["num_layers"]):
        weights = [onnx_weights(config, tensors, layer, bool(d)) for d in range(directions)]
        w, r, b = (np.stack(part).astype(np.float32) for part in zip(*weights))
        start = np.zeros((directions, batch, hidden), np.float32)
        if h0 is not None:
            start = h0[layer * directions : (layer + 1) * directions].astype(np.float32)
        feeds = {"X": sequence, "W": w, "R": r, "B": b, "initial_h": start}
        if lengths is not None:
            feeds["sequence_lens"] = np.array(lengths, np.int32)
        y, y_h = session.run(None, feeds)
        sequence = y.transpose(0, 2, 1, 3).reshape(x.shape[0], batch, directions * hidden)
        final.append(y_h)
    return sequence, np.concatenate(final)


def sigmoid(a):
    with np.errstate(over="ignore"):
        return 1.0 / (1.0 + np.exp(-a))


def textbook_suffix(tensors, layer):
    """The suffix of a layer's names; that of layer 0 may be left out."""
    return f"_l{layer}" if f"W_u_l{layer}" in tensors else ""


def run_textbook(config, tensors, x, h0, lengths, mask):
    steps, batch, _ = x.shape
    hidden, layers = config["hidden_size"], config["num_layers"]
    final = np.zeros((layers, batch, hidden)) if h0 is None else h0.astype(np.float64)
    sequence = x.astype(np.float64)
    for layer in range(layers):
        suffix = textbook_suffix(tensors, layer)
        reset_name = "R" if f"W_R{suffix}" in tensors else "r"
        W_u, W_R, W_h, b_u, b_R, b_h = (
            tensors[name + suffix].astype(np.float64)
            for name in ("W_u", f"W_{reset_name}", "W_h", "b_u", f"b_{reset_name}", "b_h")
        )
        output = np.zeros((steps, batch, hidden))
        for row in range(batch):
            h = final[layer, row]
            for t in range(steps if lengths is None else lengths[row]):
                if mask is not None and mask[t, row]:
                    h = np.zeros(hidden)
                x_t = sequence[t, row]
                U = sigmoid(W_u @ np.concatenate([x_t, h]) + b_u)
                R = sigmoid(W_R @ np.concatenate([x_t, h]) + b_R)
                C = np.tanh(W_h @ np.concatenate([x_t, R * h]) + b_h)
                h = U * C + (1 - U) * h
                output[t, row] = h
            final[layer, row] = h
        sequence = output
    return sequence, final


def pytorch_to_textbook(config, tensors):
    """A forward reset-before model in textbook names; there both biases of a gate only ever add."""
    converted = {}
    for layer in range(config["num_layers"]):
        w_ih, w_hh, b_ih, b_hh = layer_tensors(config, tensors, layer, False)
        weights = np.split(np.concatenate([w_ih, w_hh], axis=1), 3)
        for gate, sign, weight, bias in zip("Ruh", (1, -1, 1), weights, np.split(b_ih + b_hh, 3)):
            converted[f"W_{gate}_l{layer}"] = sign * weight
            converted[f"b_{gate}_l{layer}"] = sign * bias
    return converted


def textbook_to_pytorch(config, tensors):
    """The same model in PyTorch's names: U = 1 - z negates the update gate's weights and bias."""
    converted = {}
    for layer in range(config["num_layers"]):
        suffix = textbook_suffix(tensors, layer)
        reset_name = "R" if f"W_R{suffix}" in tensors else "r"
        rows = [tensors[f"W_{reset_name}{suffix}"], -tensors[f"W_u{suffix}"], tensors[f"W_h{suffix}"]]
        joined = np.concatenate(rows)
        inputs = joined.shape[1] - config["hidden_size"]
        biases = [tensors[f"b_{reset_name}{suffix}"], -tensors[f"b_u{suffix}"], tensors[f"b_h{suffix}"]]
        converted[f"weight_ih_l{layer}"] = joined[:, :inputs]
        converted[f"weight_hh_l{layer}"] = joined[:, inputs:]
        converted[f"bias_ih_l{layer}"] = np.concatenate(biases)
        converted[f"bias_hh_l{layer}"] = np.zeros(3 * config["hidden_size"])
    return converted
