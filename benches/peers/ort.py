"""Times ONNX Runtime's CPU GRU on this project's CPU shapes and writes JSON.

    python ort.py --threads 2 --seconds 2 > ort.json

Needs numpy, onnx and onnxruntime. Each row: random weights of the shape's size, input from a
fixed seed, one warm-up run, then runs until `--seconds` have passed (at least five); times in
milliseconds. `--serve` instead reads row names from standard input and answers each with one
time, so that a caller can interleave the runs with another engine's. The caller must then pause
for 100 ms after each answer: ONNX Runtime's threads spin for about 50 ms after a run, and take a
core from whatever runs next.
"""

import argparse
import json
import statistics
import sys
import time

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

# name: T, B, I, H, bidirectional
SHAPES = {
    "h64": (100, 1, 64, 64, False),
    "h256": (100, 1, 256, 256, False),
    "h1024": (50, 1, 1024, 1024, False),
    "b64": (100, 64, 256, 256, False),
    "b256": (50, 256, 512, 512, False),
    "rmvpe": (1000, 1, 384, 256, True),
    "step": (1, 1, 256, 256, False),
}


def gru_model(inputs, hidden, bidirectional, linear_before_reset, rng):
    """A model of one GRU operator: X [T, B, I], H0 [D, B, H] to Y and Y_h."""
    directions = 2 if bidirectional else 1
    scale = 1.0 / np.sqrt(hidden)

    def weights(*shape):
        return rng.uniform(-scale, scale, shape).astype(np.float32)

    initialisers = [
        onnx.numpy_helper.from_array(weights(directions, 3 * hidden, inputs), "W"),
        onnx.numpy_helper.from_array(weights(directions, 3 * hidden, hidden), "R"),
        onnx.numpy_helper.from_array(weights(directions, 6 * hidden), "B"),
    ]
    node = helper.make_node(
        "GRU",
        ["X", "W", "R", "B", "", "H0"],
        ["Y", "Y_h"],
        hidden_size=hidden,
        direction="bidirectional" if bidirectional else "forward",
        linear_before_reset=linear_before_reset,
    )
    graph = helper.make_graph(
        [node],
        "gru",
        [
            helper.make_tensor_value_info("X", TensorProto.FLOAT, ["T", "B", inputs]),
            helper.make_tensor_value_info("H0", TensorProto.FLOAT, [directions, "B", hidden]),
        ],
        [
            helper.make_tensor_value_info("Y", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("Y_h", TensorProto.FLOAT, None),
        ],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    return model.SerializeToString()


class Row:
    """One shape and reset form, ready to run."""

    def __init__(self, name, linear_before_reset, threads):
        steps, batch, inputs, hidden, bidirectional = SHAPES[name]
        rng = np.random.default_rng(1)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(
            gru_model(inputs, hidden, bidirectional, linear_before_reset, rng),
            options,
            providers=["CPUExecutionProvider"],
        )
        directions = 2 if bidirectional else 1
        self.feed = {
            "X": rng.standard_normal((steps, batch, inputs), dtype=np.float32),
            "H0": np.zeros((directions, batch, hidden), np.float32),
        }

    def milliseconds(self, repeat=1):
        start = time.perf_counter()
        for _ in range(repeat):
            self.session.run(None, self.feed)
        return (time.perf_counter() - start) * 1e3 / repeat


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", nargs="*", default=list(SHAPES))
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()

    if args.serve:
        rows = {}
        for line in sys.stdin:
            name, form, repeat = line.split()
            key = (name, form)
            if key not in rows:
                rows.clear()
                rows[key] = Row(name, int(form == "after"), args.threads)
                rows[key].milliseconds()
            print(rows[key].milliseconds(int(repeat)), flush=True)
        return

    results = []
    for name in args.only:
        for form in ("after", "before"):
            row = Row(name, int(form == "after"), args.threads)
            row.milliseconds()
            times, end = [], time.perf_counter() + args.seconds
            while len(times) < 5 or time.perf_counter() < end:
                times.append(row.milliseconds())
            steps, batch, inputs, hidden, bidirectional = SHAPES[name]
            results.append(
                {
                    "row": name, "reset": form, "T": steps, "B": batch, "I": inputs, "H": hidden,
                    "bidirectional": bidirectional, "runs": len(times),
                    "p50_ms": statistics.median(times), "min_ms": min(times),
                    "p95_ms": sorted(times)[int(len(times) * 0.95)],
                }
            )
            print(results[-1], file=sys.stderr)
    json.dump(
        {"engine": "onnxruntime", "version": ort.__version__, "threads": args.threads,
         "results": results},
        sys.stdout, indent=1,
    )


if __name__ == "__main__":
    main()
