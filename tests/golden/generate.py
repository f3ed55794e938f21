"""Writes (or, with --check, recomputes and compares) the golden cases of this folder. See README.md."""

import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch

import common

HERE = pathlib.Path(__file__).parent


def build(name, *, steps=6, batch=3, input_size=5, hidden=7, layers=1, bidirectional=False, bias=True,
          reset="after", convention="pytorch", cell=False, h0=False, lengths=None, mask=None,
          weight_scale=1.0, input_scale=1.0, bits=None, keep=1.0):
    """One case. `keep` is the share of recurrent weights that are not zero."""
    rng = common.rng_for(name)
    config = common.gru_config(input_size, hidden, layers, bidirectional, bias, reset, convention)
    shapes = common.textbook_shapes(config) if convention == "textbook" else common.pytorch_shapes(config, cell)
    tensors = {n: common.draw(rng, s, weight_scale / np.sqrt(hidden), bits) for n, s in shapes.items()}
    if keep < 1.0:
        for n in tensors:
            if n.startswith("weight_hh") or n.startswith("W_"):
                tensors[n] = np.where(rng.random(shapes[n]) < keep, tensors[n], np.float32(0.0))
    x = common.draw(rng, (steps, batch, input_size), 2.0 * input_scale)
    slots = layers * (2 if bidirectional else 1)
    start = common.draw(rng, (slots, batch, hidden), 1.0) if h0 else None
    mask = None if mask is None else np.array(mask, dtype=np.uint8)
    result, f64, f32 = common.compute(name, config, tensors, x, start, lengths, mask)
    common.report(name, f64, f32)
    return common.case_json(name, config, x, result, tensors, start, lengths, mask)


# Set before step 0 (row 1), on neighbouring steps (row 2) and never (row 0).
MASK = [[0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1], [0, 0, 0], [0, 0, 1]]

BOTH_FORMS = {
    "one_layer": {},
    "two_layers": dict(layers=2, hidden=5),
    "bidirectional": dict(bidirectional=True, hidden=5),
    "three_layers_bidirectional_no_bias": dict(layers=3, bidirectional=True, bias=False, hidden=4, bits=16),
    "no_bias": dict(bias=False, hidden=4),
    "initial_state": dict(layers=2, bidirectional=True, hidden=4, h0=True, bits=16),
    "hidden_1": dict(hidden=1, input_size=2),
    "hidden_3": dict(hidden=3, input_size=4),
    "hidden_17": dict(hidden=17, bidirectional=True, input_size=4, steps=4, batch=2, bits=10),
    "hidden_65": dict(hidden=65, input_size=2, steps=3, batch=2, bits=5, keep=0.4, weight_scale=2.0),
    "input_1": dict(input_size=1),
    "batch_1": dict(batch=1),
    "batch_5": dict(batch=5),
    "one_step": dict(steps=1, h0=True, bidirectional=True, hidden=4),
    "thirty_steps": dict(steps=30, batch=2, hidden=6, input_size=3),
    "saturating": dict(weight_scale=40.0, input_scale=10.0, h0=True),
    "lengths": dict(bidirectional=True, hidden=4, batch=5, lengths=[3, 6, 1, 6, 4], h0=True),
    "lengths_two_layers": dict(layers=2, bidirectional=True, hidden=3, batch=4, lengths=[2, 5, 6, 1]),
    "lengths_zero": dict(layers=2, bidirectional=True, hidden=3, batch=4, lengths=[0, 4, 0, 6], h0=True),
    "lengths_all_short": dict(hidden=4, lengths=[2, 4, 1]),
    "reset_mask": dict(mask=MASK, h0=True),
    "reset_mask_two_layers": dict(mask=MASK, layers=2, hidden=4),
    "reset_mask_lengths": dict(mask=MASK, layers=2, hidden=4, lengths=[5, 6, 3], h0=True),
}
TEXTBOOK = (
    "one_layer", "two_layers", "hidden_1", "hidden_3", "hidden_65", "input_1", "batch_1", "batch_5", "thirty_steps",
    "saturating", "lengths_all_short", "reset_mask", "reset_mask_two_layers", "reset_mask_lengths",
)


def cases():
    for name, options in BOTH_FORMS.items():
        yield build(f"reset_after_{name}", **options)
        yield build(f"reset_before_{name}", reset="before", **options)
    yield build("reset_after_cell", cell=True, h0=True)
    yield build("reset_after_cell_no_bias", cell=True, bias=False, hidden=4)
    for name in TEXTBOOK:
        yield build(f"textbook_{name}", reset="before", convention="textbook", **BOTH_FORMS[name])
    yield build("textbook_initial_state", reset="before", convention="textbook", layers=2, hidden=4, h0=True)
    yield build("textbook_hidden_17", reset="before", convention="textbook", hidden=17, input_size=4, steps=4, bits=10)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    for case in cases():
        common.write_or_check(HERE / f"{case['name']}.json", case, check)


if __name__ == "__main__":
    main()
