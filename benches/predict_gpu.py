"""What a model expects of the real shapes of grid.json on a large GPU (H100, H200): a Markdown table.

    python3 benches/predict_gpu.py

Written before anything was measured there; docs/real-gpu.md says what each term is.
"""

import json
import math
from pathlib import Path

# Microseconds, FLOP a microsecond, bytes a microsecond.
DISPATCH = 3.4  # a dependent dispatch, its first loads included
RATE = 34e6  # products of many workgroups, f32
L2, MEMORY = 5.5e6, 4.3e6
CORES, CORE_RATE = 132, 0.28e6  # one core on weights in its registers
BARRIERS = 0.3  # a step inside a dispatch
REGISTERS = 192 << 10  # bytes of weights that a core keeps
SMALL, CHAIN = 1.5, 7.1  # cuDNN: its kernel for H <= 192, and its chain of kernels, a cell and step


def wgru(row, weight_bytes):
    steps, batch, features, hidden, layers = (row[k] for k in "TBIHL")
    directions = 2 if row["bi"] else 1
    share = 0.5625 if row.get("lengths") else 1.0  # of the rows' steps
    total = 0.0
    # As the planner's table.
    square = hidden * hidden
    wavefront = layers > 1 and directions == 1
    wavefront &= square * batch <= 1 << 22 and 3 * square * (2 * layers - 1) <= 1 << 23
    resident = 3 * hidden * hidden * weight_bytes <= REGISTERS
    widths = [features] + [directions * hidden] * (layers - 1)
    for width in widths[:1] if wavefront and not resident else widths:
        total += 6 * steps * batch * share * directions * hidden * width / RATE
    if resident:
        # Layers of a stack overlap, chunk by chunk.
        stacked = directions == 1
        rows = math.ceil(batch * directions * (layers if stacked else 1) / CORES)
        cell = BARRIERS + rows * 6 * hidden * hidden / CORE_RATE
        total += steps * cell * (1 if stacked else layers)
        return "sequence", total / 1e3
    cells = layers if wavefront else 1
    k = hidden * (2 if wavefront else 1)
    weights = 3 * hidden * k * weight_bytes * directions * cells
    products = 6 * batch * share * directions * cells * hidden * k / RATE
    step = DISPATCH + max(products, weights / (L2 if weights < 30e6 else MEMORY))
    dispatches = steps + layers - 1 if wavefront else steps * layers
    return "wavefront" if wavefront else "step", (total + dispatches * step) / 1e3


def cudnn(row):
    steps, batch, features, hidden, layers = (row[k] for k in "TBIHL")
    directions = 2 if row["bi"] else 1
    persistent = hidden <= 192 and not row.get("lengths")
    products = 6 * batch * hidden * hidden / RATE
    cells = steps * layers * directions * ((SMALL if persistent else CHAIN) + products)
    widths = features + (layers - 1) * directions * hidden
    return (cells + 6 * steps * batch * directions * hidden * widths / RATE) / 1e3


grid = json.loads((Path(__file__).resolve().parent / "grid.json").read_text())
print("| row | kernels | f32, ms | f16, ms | cuDNN f32, ms | ratio f32 |")
print("|---|---|---:|---:|---:|---:|")
for row in grid:
    if "real" in row["groups"]:
        family, f32 = wgru(row, 4)
        _, f16 = wgru(row, 2)
        other = cudnn(row)
        print(f"| {row['name']} | {family} | {f32:.3g} | {f16:.3g} | {other:.3g} | x {other / f32:.1f} |")
