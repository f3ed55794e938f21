"""What the golden generators share: drawing a case, computing it from two sources, writing it."""

import json
import zlib

import numpy as np

import sources

SEED = 20240607


def rng_for(name):
    """A generator that depends on the case's name only, so that adding a case changes no other."""
    return np.random.default_rng([SEED, zlib.crc32(name.encode())])


def draw(rng, shape, bound, bits=None):
    """Uniform in [-bound, bound], exact in float32; `bits` rounds to multiples of 2^-bits (shorter files)."""
    value = rng.uniform(-bound, bound, shape).astype(np.float32)
    # Adding zero turns -0 into 0.
    return value if bits is None else (np.round(value * 2.0**bits) / 2.0**bits + 0.0).astype(np.float32)


def gru_config(input_size, hidden_size, num_layers=1, bidirectional=False, bias=True, reset="after", convention="pytorch"):
    return {
        "convention": convention, "input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers,
        "bidirectional": bidirectional, "bias": bias, "reset": reset, "activations": ["sigmoid", "tanh"],
    }


def pytorch_shapes(config, cell=False):
    hidden, directions = config["hidden_size"], 2 if config["bidirectional"] else 1
    shapes = {}
    for layer in range(config["num_layers"]):
        inputs = config["input_size"] if layer == 0 else directions * hidden
        for reverse in range(directions):
            suffix = "" if cell else f"_l{layer}" + ("_reverse" if reverse else "")
            shapes["weight_ih" + suffix] = (3 * hidden, inputs)
            shapes["weight_hh" + suffix] = (3 * hidden, hidden)
            if config["bias"]:
                shapes["bias_ih" + suffix] = (3 * hidden,)
                shapes["bias_hh" + suffix] = (3 * hidden,)
    return shapes


def textbook_shapes(config, suffixes=None, reset_name="R"):
    hidden = config["hidden_size"]
    suffixes = suffixes or ([""] if config["num_layers"] == 1 else [f"_l{k}" for k in range(config["num_layers"])])
    shapes = {}
    for layer, suffix in enumerate(suffixes):
        inputs = config["input_size"] if layer == 0 else hidden
        for gate in ("u", reset_name, "h"):
            shapes[f"W_{gate}{suffix}"] = (hidden, inputs + hidden)
            shapes[f"b_{gate}{suffix}"] = (hidden,)
    return shapes


def difference(a, b):
    return max(float(np.max(np.abs(p - q), initial=0.0)) for p, q in zip(a, b))


def compute(name, config, tensors, x, h0=None, lengths=None, mask=None):
    """Output and final state in float64 from the case's source, asserted against every other one that can run it."""
    arguments = (x, h0, lengths, mask)
    result, f64, f32 = None, None, None
    if config["convention"] == "textbook":
        result = sources.run_textbook(config, tensors, *arguments)
        tensors = sources.textbook_to_pytorch(config, tensors)
        f64 = difference(result, sources.run_onnx_reference(config, tensors, *arguments))
    elif config["reset"] == "after":
        result = sources.run_torch(config, tensors, *arguments)
        f64 = difference(result, sources.run_onnx_reference(config, tensors, *arguments))
    else:
        result = sources.run_onnx_reference(config, tensors, *arguments)
        if not config["bidirectional"]:
            textbook = sources.pytorch_to_textbook(config, tensors)
            f64 = difference(result, sources.run_textbook(config, textbook, *arguments))
    assert f64 is None or f64 < 1e-13, f"{name}: the float64 sources differ by {f64}"
    if mask is None:
        # onnxruntime gives rows of length 0 a zero state: they are left out.
        rows = slice(None) if lengths is None else np.flatnonzero(lengths)
        start, used = h0 if h0 is None else h0[:, rows], lengths if lengths is None else np.array(lengths)[rows]
        f32 = difference([v[:, rows] for v in result], sources.run_onnxruntime(config, tensors, x[:, rows], start, used))
        assert f32 < 1e-5, f"{name}: onnxruntime differs by {f32}"
    assert f64 is not None or f32 is not None, f"{name}: no second source"
    return result, f64, f32


def array_json(value):
    """`{shape, data}`, row-major; every number reads back as the same float64."""
    return {"shape": list(value.shape), "data": [float(v) for v in np.asarray(value, np.float64).ravel()]}


def report(name, f64, f32):
    texts = ["-" if v is None else f"{v:.1e}" for v in (f64, f32)]
    print(f"{name:52} float64 sources {texts[0]:>8}  onnxruntime f32 {texts[1]:>8}")


def case_json(name, config, x, result, tensors=None, h0=None, lengths=None, mask=None, **more):
    steps, batch, _ = x.shape
    return {
        "name": name, **more, "config": config, "steps": steps, "batch": batch,
        "tensors": None if tensors is None else {n: array_json(v) for n, v in tensors.items()},
        "input": array_json(x),
        "initial_state": None if h0 is None else array_json(h0),
        "lengths": None if lengths is None else [int(v) for v in lengths],
        "reset_mask": None if mask is None else {"shape": list(mask.shape), "data": [int(v) for v in mask.ravel()]},
        "output": array_json(result[0]), "final_state": array_json(result[1]),
    }


def dump(value, indent=0):
    """JSON with one line per row of an array."""
    pad = " " * indent
    if isinstance(value, dict) and set(value) == {"shape", "data"}:
        width = max(1, value["shape"][-1])
        data = [repr(v).removesuffix(".0") for v in value["data"]]
        rows = [",".join(data[k : k + width]) for k in range(0, len(data), width)]
        body = ",\n".join(f"{pad}  {row}" for row in rows)
        return f'{{"shape": {json.dumps(value["shape"])}, "data": [\n{body}\n{pad}]}}'
    if isinstance(value, dict) and any(isinstance(v, dict) for v in value.values()):
        items = ",\n".join(f"{pad}  {json.dumps(k)}: {dump(v, indent + 2)}" for k, v in value.items())
        return f"{{\n{items}\n{pad}}}"
    return json.dumps(value)


def same_case(committed, fresh):
    """Everything equal, but for the results, which a library's other build may round otherwise."""
    results = ("output", "final_state", "output_f32_weights", "final_state_f32_weights")
    for key in fresh:
        if key not in results:
            if committed.get(key) != fresh[key]:
                return False
            continue
        old, new = committed[key], fresh[key]
        if old["shape"] != new["shape"] or difference([np.array(old["data"])], [np.array(new["data"])]) > 1e-13:
            return False
    return set(committed) == set(fresh)


def write_or_check(path, case, check):
    if check:
        assert same_case(json.loads(path.read_text()), case), f"{path.name} does not match what is computed now"
    else:
        path.write_text(dump(case) + "\n")
        size = path.stat().st_size
        assert size < 100_000, f"{path.name} has {size} bytes"
