"""Writes (or, with --check, compares) the model files of this folder and what they must give. See README.md."""

import argparse
import pathlib
import sys

import numpy as np
import safetensors
import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parent / "golden"))
import common  # noqa: E402

STEPS, BATCH = 5, 3
PYTORCH = dict(input_size=6, hidden_size=9, num_layers=2, bidirectional=True)
TEXTBOOK_TWO = dict(num_layers=2, reset="before", convention="textbook")


def weights(name, config, cell=False, dtype=torch.float32, **textbook):
    """Tensors of `dtype`; the float64 ones are not exact in float32."""
    rng = common.rng_for(name)
    shapes = common.pytorch_shapes(config, cell) if config["convention"] == "pytorch" else common.textbook_shapes(config, **textbook)
    bound = 1.0 / np.sqrt(config["hidden_size"])
    return {n: torch.from_numpy(rng.uniform(-bound, bound, s)).to(dtype) for n, s in shapes.items()}


def expected(name, file, prefix, config, tensors, h0=False, lengths=None):
    """What the module `prefix` of `file` gives: computed in float64 from the tensors as stored."""
    rng = common.rng_for(name + ":input")
    x = common.draw(rng, (STEPS, BATCH, config["input_size"]), 2.0)
    slots = config["num_layers"] * (2 if config["bidirectional"] else 1)
    start = common.draw(rng, (slots, BATCH, config["hidden_size"]), 1.0) if h0 else None
    stored = {n: t.to(torch.float64).numpy() for n, t in tensors.items()}
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    result, f64, f32 = common.compute(name, config, stored, x, start, lengths)
    common.report(name, f64, f32)
    case = common.case_json(name, config, x, result, None, start, lengths, file=file, prefix=prefix, dtype=dtype)
    if dtype == "float64":
        rounded = {n: v.astype(np.float32).astype(np.float64) for n, v in stored.items()}
        output, final, *_ = common.compute(name, config, rounded, x, start, lengths)[0]
        case["output_f32_weights"] = common.array_json(output)
        case["final_state_f32_weights"] = common.array_json(final)
    return case


def simple(name, config, metadata=None, h0=False, lengths=None, **options):
    tensors = weights(name, config, **options)
    file = f"{name}.safetensors"
    return file, tensors, metadata, [expected(name, file, None, config, tensors, h0, lengths)]


def prefixed():
    """Two GRUs and tensors that belong to neither in one file."""
    name, file = "pytorch_prefixed", "pytorch_prefixed.safetensors"
    encoder = common.gru_config(**PYTORCH)
    decoder = common.gru_config(input_size=4, hidden_size=5, bias=False)
    parts = {"encoder.rnn": (encoder, weights(name + ":encoder", encoder)), "decoder.gru": (decoder, weights(name + ":decoder", decoder))}
    tensors = {f"{prefix}.{n}": t for prefix, (_, part) in parts.items() for n, t in part.items()}
    tensors["embedding.weight"] = weights(name + ":embedding", common.gru_config(3, 4))["weight_ih_l0"]
    tensors["head.weight"] = torch.ones(2, 5, dtype=torch.float16)
    tensors["head.bias"] = torch.zeros(2)
    tensors["steps_trained"] = torch.tensor(1234, dtype=torch.int64)
    cases = [
        expected(f"{name}_{prefix.split('.')[0]}", file, prefix, config, part, h0=True, lengths=[4, 1, 5])
        for prefix, (config, part) in parts.items()
    ]
    return file, tensors, {"format": "pt"}, cases


def files():
    for dtype, short in [(torch.float32, "f32"), (torch.float64, "f64"), (torch.float16, "f16"), (torch.bfloat16, "bf16")]:
        yield simple(f"pytorch_{short}", common.gru_config(**PYTORCH), {"format": "pt"}, dtype=dtype)
    yield simple("pytorch_one_layer_no_bias", common.gru_config(input_size=5, hidden_size=16, bias=False))
    yield prefixed()
    yield simple("gru_cell", common.gru_config(input_size=6, hidden_size=9), {"format": "pt"}, cell=True, h0=True)
    one = common.gru_config(6, 9, reset="before", convention="textbook")
    two = common.gru_config(6, 9, **TEXTBOOK_TWO)
    yield simple("textbook", one, h0=True)
    yield simple("textbook_lower_case_r", one, reset_name="r")
    yield simple("textbook_two_layers", two, lengths=[3, 5, 2])
    yield simple("textbook_two_layers_first_bare", two, suffixes=["", "_l1"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, safetensors {safetensors.__version__}")
    for file, tensors, metadata, cases in files():
        path = HERE / file
        if check:
            committed = load_file(path)
            assert committed.keys() == tensors.keys(), f"{file} holds other tensors"
            for n, t in tensors.items():
                assert committed[n].dtype == t.dtype and torch.equal(committed[n], t), f"{file}: {n} differs"
        else:
            save_file(tensors, path, metadata)
        for case in cases:
            common.write_or_check(HERE / f"{case['name']}.json", case, check)


if __name__ == "__main__":
    main()
