"""The ONNX GRU operator in numpy float64, by its definition: every activation, clip, lengths, directions."""

import numpy as np

TAKES = {"leakyrelu": ("a",), "thresholdedrelu": ("a",), "elu": ("a",), "hardsigmoid": ("a", "b"), "affine": ("a", "b"), "scaledtanh": ("a", "b")}
DEFAULTS = {"leakyrelu": {"a": 0.01}, "thresholdedrelu": {"a": 1.0}, "elu": {"a": 1.0}, "hardsigmoid": {"a": 0.2, "b": 0.5},
            "affine": {"a": 1.0, "b": 0.0}, "scaledtanh": {"a": 1.0, "b": 1.0}}
FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "leakyrelu": lambda x, a: np.where(x >= 0, x, a * x),
    "thresholdedrelu": lambda x, a: np.where(x > a, x, 0),
    "elu": lambda x, a: np.where(x >= 0, x, a * np.expm1(x)),
    "hardsigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "affine": lambda x, a, b: a * x + b,
    "scaledtanh": lambda x, a, b: a * np.tanh(b * x),
}


def functions(names, alpha=(), beta=()):
    """One callable a name; parameters are consumed in order by the functions that take them, as float32."""
    queues, out = {"a": list(alpha), "b": list(beta)}, []
    for name in names:
        key = name.lower()
        given = {p: np.float64(np.float32(queues[p].pop(0))) if queues[p] else np.float64(np.float32(DEFAULTS[key][p])) for p in TAKES.get(key, ())}
        out.append(lambda x, key=key, given=given: FUNCTIONS[key](x, **given))
    return out


def gru(x, w, r, b=None, lengths=None, h0=None, direction="forward", linear_before_reset=0, clip=None,
        activations=None, activation_alpha=(), activation_beta=(), hidden_size=None, layout=0, output_sequence=1):
    """Output [T, B, D*H] and final state [D, B, H] of x [T, B, I]; `layout` changes neither."""
    (steps, batch, _), (directions, _, hidden) = x.shape, r.shape
    x, w, r = (np.asarray(v, np.float64) for v in (x, w, r))
    b = np.zeros((directions, 6 * hidden)) if b is None else np.asarray(b, np.float64)
    lengths = [steps] * batch if lengths is None else lengths
    state = np.zeros((directions, batch, hidden)) if h0 is None else np.array(h0, np.float64)
    output = np.zeros((steps, batch, directions * hidden))
    fs = functions(activations or ["Sigmoid", "Tanh"] * directions, activation_alpha, activation_beta)
    bounded = (lambda v: v) if clip is None else (lambda v: np.clip(v, -np.float64(np.float32(clip)), np.float64(np.float32(clip))))
    for d in range(directions):
        f, g = fs[2 * d], fs[2 * d + 1]
        reverse = direction == "reverse" or d == 1
        (wz, wr, wh), (rz, rr, rh) = np.split(w[d], 3), np.split(r[d], 3)
        wbz, wbr, wbh, rbz, rbr, rbh = np.split(b[d], 6)
        for row in range(batch):
            order = range(lengths[row])
            h = state[d, row]
            for t in reversed(order) if reverse else order:
                v = x[t, row]
                z = f(bounded(wz @ v + rz @ h + wbz + rbz))
                reset = f(bounded(wr @ v + rr @ h + wbr + rbr))
                if linear_before_reset:
                    n = g(bounded(wh @ v + reset * (rh @ h + rbh) + wbh))
                else:
                    n = g(bounded(wh @ v + rh @ (reset * h) + rbh + wbh))
                h = (1 - z) * n + z * h
                output[t, row, d * hidden : (d + 1) * hidden] = h
            state[d, row] = h
    return output, state
