"""Times PyTorch's `nn.GRU` (cuDNN) on a CUDA device over the real shapes of ../grid.json.

    python torch_gpu.py [--only NAME,NAME] [--seconds S] [--max-seconds S] [--json FILE]

Three modes: f32 with TF32 (PyTorch's default for cuDNN), f32 without it, f16. `ms` is device time by
CUDA events, input and weights resident and output left on the device; `graph_ms` the same of a
replayed CUDA graph; `e2e_ms` adds the copies from and to pinned host memory. One record a line, as in
docs/bench-json.md; a file is written anew after each, so that a run that is ended leaves them.
`--device cpu` tries the program out where there is no GPU: its figures mean nothing.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch

MODES = [("f32-tf32", torch.float32, True), ("f32", torch.float32, False), ("f16", torch.float16, True)]


class Clock:
    """Milliseconds of calls: by events of the device, or of the processor."""

    def __init__(self, cuda):
        self.cuda = cuda

    def synchronize(self):
        if self.cuda:
            torch.cuda.synchronize()

    def once(self, call):
        if not self.cuda:
            begin = time.perf_counter()
            call()
            return 1e3 * (time.perf_counter() - begin)
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end)

    def median(self, call, seconds):
        call()
        self.synchronize()
        times, begin = [], time.perf_counter()
        while len(times) < 5 or (time.perf_counter() - begin < seconds and len(times) < 500):
            times.append(self.once(call))
        return statistics.median(times), len(times)


def graph_of(call):
    """A graph of `call` that replays it."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph


def measure(row, dtype, device, clock, seconds):
    steps, batch, features, hidden = (row[k] for k in "TBIH")
    directions = 2 if row["bi"] else 1
    torch.manual_seed(0)
    gru = torch.nn.GRU(features, hidden, row["L"], bidirectional=row["bi"]).to(device, dtype).eval()
    x = torch.rand(steps, batch, features, device=device, dtype=dtype) * 2 - 1
    given = x
    if row.get("lengths"):
        lengths = torch.randint(steps // 8, steps + 1, (batch,))
        lengths[0] = steps
        given = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
    call = lambda: gru(given)
    record = {}
    record["ms"], record["runs"] = clock.median(call, seconds)
    record["us_per_cell_step"] = 1e3 * record["ms"] / (steps * row["L"] * directions)
    if clock.cuda and not row.get("lengths"):
        host = x.cpu().pin_memory()
        back = torch.empty(steps, batch, directions * hidden, dtype=dtype).pin_memory()

        def whole():
            states, _ = gru(host.to(device, non_blocking=True))
            back.copy_(states, non_blocking=True)

        record["e2e_ms"], _ = clock.median(whole, seconds)
        try:
            graph = graph_of(call)
            record["graph_ms"], _ = clock.median(graph.replay, seconds)
        except RuntimeError as error:
            record["graph_error"] = " ".join(str(error).split())[:160]
            clock.synchronize()
    return record


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--only", default="", help="rows, separated by commas")
    parser.add_argument("--seconds", type=float, default=0.4, help="for each figure")
    parser.add_argument("--max-seconds", type=float, default=360.0, help="for all of them")
    parser.add_argument("--json", type=Path, help="where the records go beside standard output")
    options = parser.parse_args()
    cuda = options.device == "cuda"
    if cuda and not torch.cuda.is_available():
        sys.exit("torch_gpu.py: torch finds no CUDA device")
    grid = json.loads((Path(__file__).resolve().parent.parent / "grid.json").read_text())
    rows = [row for row in grid if "real" in row["groups"]]
    only = [name for name in options.only.split(",") if name]
    unknown = set(only) - {row["name"] for row in rows}
    if unknown:
        sys.exit(f"torch_gpu.py: there is no row {', '.join(sorted(unknown))} in the group real")
    rows = [row for row in rows if not only or row["name"] in only]
    common = {
        "engine": "pytorch",
        "version": torch.__version__,
        "cudnn": torch.backends.cudnn.version() if cuda else None,
        "device": torch.cuda.get_device_name(0) if cuda else "cpu",
        "kind": "discrete GPU" if cuda else "cpu",
        "reset": "after",
    }
    clock, begin, lines = Clock(cuda), time.perf_counter(), []
    for row in rows:
        shape = {k: row[k] for k in ("B", "T", "I", "H", "L", "bi")}
        shape["lengths"] = row.get("lengths", False)
        for mode, dtype, tf32 in MODES if cuda else MODES[1:2]:
            record = {"name": row["name"], **shape, **common, "mode": mode}
            torch.backends.cudnn.allow_tf32 = tf32
            torch.backends.cuda.matmul.allow_tf32 = tf32
            try:
                if time.perf_counter() - begin > options.max_seconds:
                    raise TimeoutError("no time is left")
                with torch.inference_mode():
                    record |= measure(row, dtype, options.device, clock, options.seconds)
            except Exception as error:  # an engine that fails on a row has no time there
                record["error"] = " ".join(str(error).split())[:200]
            lines.append(json.dumps(record))
            print(lines[-1], flush=True)
            if options.json:
                partial = options.json.with_suffix(".part")
                partial.write_text("\n".join(lines) + "\n")
                os.replace(partial, options.json)
            if cuda:
                torch.cuda.empty_cache()


main()
