"""PyTorch's `nn.GRU` on the processor: `python torch_cpu.py [THREADS]`."""

import sys

import torch

from case import read
from serve import Unsupported, serve


class Network:
    def __init__(self, folder):
        numbers, x, cells = read(folder)
        if not numbers["reset_after"]:
            raise Unsupported("PyTorch's GRU is reset-after only")
        self.gru = torch.nn.GRU(
            numbers["input"], numbers["hidden"], numbers["layers"],
            bidirectional=numbers["bidirectional"],
        )
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        directions = 2 if numbers["bidirectional"] else 1
        with torch.no_grad():
            for index, cell in enumerate(cells):
                suffix = f"_l{index // directions}{'_reverse' if index % directions else ''}"
                for name, value in zip(names, cell):
                    getattr(self.gru, name + suffix).copy_(torch.from_numpy(value))
        self.gru.eval()
        self.x = torch.from_numpy(x)
        self.states = None

    def run(self):
        with torch.inference_mode():
            self.states, _ = self.gru(self.x)

    def output(self):
        return self.states.numpy()


torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else 2)
serve("pytorch", torch.__version__, Network)
