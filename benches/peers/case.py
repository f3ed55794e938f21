"""Cases: one shape with random weights and input, written into a folder that every engine reads."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper


class Case:
    """One shape and reset form. `row` is an entry of a grid: `name`, `T`, `B`, `I`, `H`, `L`, `bi`."""

    def __init__(self, row, reset):
        self.name, self.reset = row["name"], reset
        self.steps, self.batch, self.input, self.hidden = (row[k] for k in "TBIH")
        self.layers, self.bidirectional = row["L"], row["bi"]
        self.directions = 2 if self.bidirectional else 1
        seed = [ord(c) for c in f"{self.name} {reset}"]
        rng = np.random.default_rng(seed)
        scale = 1.0 / np.sqrt(self.hidden)

        def weights(*shape):
            return rng.uniform(-scale, scale, shape).astype(np.float32)

        h, self.cells = self.hidden, []
        for layer in range(self.layers):
            features = self.input if layer == 0 else self.directions * h
            for _ in range(self.directions):
                self.cells.append(
                    (weights(3 * h, features), weights(3 * h, h), weights(3 * h), weights(3 * h))
                )
        self.x = rng.standard_normal((self.steps, self.batch, self.input), dtype=np.float32)

    def write(self, folder):
        """Writes `case.json`, `x.f32`, `weights.f32` (per cell w_ih, w_hh, b_ih, b_hh; gates r, z,
        n) and, of one layer, `model.onnx`."""
        folder = Path(folder)
        numbers = {
            "steps": self.steps, "batch": self.batch, "input": self.input, "hidden": self.hidden,
            "layers": self.layers, "bidirectional": self.bidirectional,
            "reset_after": self.reset == "after",
        }
        (folder / "case.json").write_text(json.dumps(numbers))
        self.x.tofile(folder / "x.f32")
        parts = [part.ravel() for cell in self.cells for part in cell]
        np.concatenate(parts).astype("<f4").tofile(folder / "weights.f32")
        (folder / "model.onnx").unlink(missing_ok=True)
        if self.layers == 1:
            (folder / "model.onnx").write_bytes(self.onnx())

    def onnx(self):
        """A model of one GRU operator: X [T, B, I] to Y [T, D, B, H]."""

        def zrh(matrix):
            r, z, n = np.split(matrix, 3)
            return np.concatenate([z, r, n])

        stack = {
            "W": np.stack([zrh(cell[0]) for cell in self.cells]),
            "R": np.stack([zrh(cell[1]) for cell in self.cells]),
            "B": np.stack([np.concatenate([zrh(c[2]), zrh(c[3])]) for c in self.cells]),
        }
        initialisers = [onnx.numpy_helper.from_array(v, k) for k, v in stack.items()]
        node = helper.make_node(
            "GRU", ["X", "W", "R", "B"], ["Y"], hidden_size=self.hidden,
            direction="bidirectional" if self.bidirectional else "forward",
            linear_before_reset=int(self.reset == "after"),
        )
        shapes = {
            "X": (self.steps, self.batch, self.input),
            "Y": (self.steps, self.directions, self.batch, self.hidden),
        }
        value = {
            k: helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()
        }
        graph = helper.make_graph([node], "gru", [value["X"]], [value["Y"]], initialisers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        return model.SerializeToString()


def read(folder):
    """The numbers, input and cells that `Case.write` wrote."""
    folder = Path(folder)
    numbers = json.loads((folder / "case.json").read_text())
    steps, batch, features = (numbers[k] for k in ("steps", "batch", "input"))
    x = np.fromfile(folder / "x.f32", "<f4").reshape(steps, batch, features)
    flat, at, cells = np.fromfile(folder / "weights.f32", "<f4"), 0, []
    h, directions = numbers["hidden"], 2 if numbers["bidirectional"] else 1
    for layer in range(numbers["layers"]):
        k = features if layer == 0 else directions * h
        for _ in range(directions):
            cell = []
            for shape in ((3 * h, k), (3 * h, h), (3 * h,), (3 * h,)):
                size = int(np.prod(shape))
                cell.append(flat[at : at + size].reshape(shape))
                at += size
            cells.append(cell)
    return numbers, x, cells
