"""Writes (or, with --check, compares) the Keras weights of this folder and what they must give. See README.md."""

import argparse
import os
import pathlib
import sys

os.environ["KERAS_BACKEND"] = "torch"
import keras  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from safetensors.numpy import load_file, save_file  # noqa: E402

HERE = pathlib.Path(__file__).parent
sys.path.extend([str(HERE.parents[1] / "golden"), str(HERE.parent / "onnx")])
import common  # noqa: E402
import gru_operator  # noqa: E402

STEPS, BATCH, INPUTS, HIDDEN = 5, 3, 3, 2
NAMES = ("kernel", "recurrent_kernel", "bias")


def layer(name, rng, **options):
    """A float64 layer whose weights are exact in float32."""
    made = keras.layers.GRU(HIDDEN, dtype="float64", name=name, return_sequences=True, return_state=True, **options)
    made.build((BATCH, STEPS, INPUTS))
    made.set_weights([common.draw(rng, w.shape, 1.0, bits=8).astype(np.float64) for w in made.get_weights()])
    return made


def definition(weights, x, reset_after, backwards=False, functions=("Sigmoid", "Tanh"), **parameters):
    """Output and final state of one direction in float64, outputs at their inputs' time, by the equations."""
    kernel, recurrent, *bias = weights
    bias = bias[0] if bias else np.zeros((2 if reset_after else 1) * kernel.shape[1])
    bias = bias.ravel() if reset_after else np.concatenate([bias.ravel(), np.zeros(kernel.shape[1])])
    return gru_operator.gru(x, kernel.T[None], recurrent.T[None], bias[None], direction="reverse" if backwards else "forward",
                            linear_before_reset=int(reset_after), activations=list(functions), **parameters)


def agree(name, result, keras_result):
    """Keras multiplies float64 matrices in float32 where it runs on torch."""
    difference = common.difference(result, keras_result)
    assert difference < 1e-6, f"{name}: Keras differs by {difference}"
    print(f"{name:32} Keras {difference:.1e}")
    return result


def case(name, made, x, output, final, options=None, prefix=None, bidirectional=False, **facts):
    config = common.gru_config(INPUTS, HIDDEN, 1, bidirectional, facts.pop("bias", True), facts.pop("reset", "after"), "keras")
    return common.case_json(name, {**config, **facts}, x, (output, final), file=made, prefix=prefix, options=options or {})


def one(name, suffix=".npz", asked=None, write=None, functions=("Sigmoid", "Tanh"), parameters=None, **options):
    """`asked` is what must be asked for to read the file as the layer means it; `write` makes the file's tensors."""
    rng = common.rng_for("keras:" + name)
    made = layer("gru", rng, **options)
    x = common.draw(rng, (STEPS, BATCH, INPUTS), 2.0, bits=8)
    output, final = (keras.ops.convert_to_numpy(v) for v in made(x.transpose(1, 0, 2).astype(np.float64))[:2])
    backwards = options.get("go_backwards", False)
    exact, exact_final = definition(made.get_weights(), x, options.get("reset_after", True), backwards, functions, **(parameters or {}))
    exact = exact[::-1] if backwards else exact
    result = agree(name, (exact, exact_final), (output.transpose(1, 0, 2), final[None]))
    tensors = {n: w.astype(np.float32) for n, w in zip(NAMES, made.get_weights())}
    if write is not None:
        tensors = write(made, tensors)
    facts = {"bias": options.get("use_bias", True), "reset": "after" if options.get("reset_after", True) else "before",
             "direction": "reverse" if backwards else "forward"}
    return f"{name}{suffix}", tensors, case(name, f"{name}{suffix}", x, *result, asked, **facts)


def by_path(made, tensors):
    """Tensors under the layer's own paths, beside those of another layer."""
    return {**{w.path: w.numpy().astype(np.float32) for w in made.weights}, "dense/kernel": np.ones((2, 2), np.float32), "dense/bias": np.ones(2, np.float32)}


def both_directions(name, suffix, reset_after):
    rng = common.rng_for("keras:" + name)
    wrapped = keras.layers.Bidirectional(
        keras.layers.GRU(HIDDEN, dtype="float64", name="gru", return_sequences=True, return_state=True, reset_after=reset_after), dtype="float64", name="both")
    x = common.draw(rng, (STEPS, BATCH, INPUTS), 2.0, bits=8)
    wrapped.build((BATCH, STEPS, INPUTS))
    wrapped.set_weights([common.draw(rng, w.shape, 1.0, bits=8).astype(np.float64) for w in wrapped.get_weights()])
    output, forward, backward = (keras.ops.convert_to_numpy(v) for v in wrapped(x.transpose(1, 0, 2).astype(np.float64)))
    tensors = {w.path: w.numpy().astype(np.float32) for w in wrapped.weights}
    weights = wrapped.get_weights()
    parts = [definition(weights[3 * d : 3 * d + 3], x, reset_after, backwards=bool(d)) for d in range(2)]
    result = (np.concatenate([p[0] for p in parts], -1), np.concatenate([p[1] for p in parts]))
    result = agree(name, result, (output.transpose(1, 0, 2), np.stack([forward, backward])))
    facts = {"bidirectional": True, "reset": "after" if reset_after else "before", "direction": "bidirectional"}
    return f"{name}{suffix}", tensors, case(name, f"{name}{suffix}", x, *result, **facts)


def files():
    yield one("after")
    yield one("before", reset_after=False)
    yield one("after_no_bias", use_bias=False, asked={"reset": "after"})
    yield one("before_no_bias", use_bias=False, reset_after=False, asked={"reset": "before"})
    yield one("backwards", go_backwards=True, asked={"go_backwards": True})
    yield one("hard_sigmoid_relu", recurrent_activation="hard_sigmoid", activation="relu", asked={"activations": "hard_sigmoid_keras3,relu"},
              functions=("HardSigmoid", "Relu"), parameters={"activation_alpha": [1 / 6]})
    yield one("keras_2_hard_sigmoid", reset_after=False, recurrent_activation=lambda v: keras.ops.clip(0.2 * v + 0.5, 0, 1), asked={"activations": "hard_sigmoid,tanh"},
              functions=("HardSigmoid", "Tanh"))
    yield one("linear", activation="linear", asked={"activations": "sigmoid,linear"}, functions=("Sigmoid", "Affine"))
    yield one("fortran_order", write=lambda made, tensors: {n: np.asfortranarray(w) for n, w in tensors.items()})
    yield one("float64_big_endian", write=lambda made, tensors: {n: w.astype(">f8") for n, w in tensors.items()})
    yield one("paths", write=by_path)
    yield one("tensorflow_names", write=lambda made, tensors: {f"gru/{n}:0": w for n, w in tensors.items()})
    yield one("safe", suffix=".safetensors", write=by_path)
    yield one("safe_before", suffix=".safetensors", reset_after=False)
    yield both_directions("both", ".npz", True)
    yield both_directions("both_before", ".safetensors", False)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check = parser.parse_args().check
    print(f"keras {keras.__version__} on torch {torch.__version__}, numpy {np.__version__}")
    for index, (file, tensors, made) in enumerate(files()):
        path = HERE / file
        if check:
            committed = load_file(path) if path.suffix == ".safetensors" else np.load(path)
            assert set(committed) == set(tensors), f"{file} holds other tensors"
            for n, t in tensors.items():
                assert np.array_equal(committed[n], t), f"{file}: {n} differs"
        elif path.suffix == ".safetensors":
            save_file({n: np.ascontiguousarray(t) for n, t in tensors.items()}, path)
        else:
            (np.savez_compressed if index % 2 else np.savez)(path, **tensors)
        common.write_or_check(HERE / f"{made['name']}.json", made, check)


if __name__ == "__main__":
    main()
