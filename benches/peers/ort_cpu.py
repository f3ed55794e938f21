"""ONNX Runtime's CPU GRU: `python ort_cpu.py [THREADS]`."""

import sys

import onnxruntime as ort

from case import read
from serve import serve


class Network:
    def __init__(self, folder, threads):
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(
            f"{folder}/model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.feed = {"X": read(folder)[1]}
        self.states = None

    def run(self):
        (self.states,) = self.session.run(None, self.feed)

    def output(self):
        steps, directions, batch, hidden = self.states.shape
        return self.states.transpose(0, 2, 1, 3).reshape(steps, batch, directions * hidden)


threads = int(sys.argv[1]) if len(sys.argv) > 1 else 2
serve("onnxruntime", ort.__version__, lambda folder: Network(folder, threads))
