"""Times wgru and other engines on the same shapes, alternating, and writes the project's records.

    python compare.py cpu --json FILE          # rows of the group `bar` of benches/grid.json
    python compare.py lavapipe --json FILE     # rows of software.json, on Mesa's software Vulkan

Every engine is a process of its own that answers lines (`peer/src/lib.rs`). A row's output is
compared with the f64 reference before the engine is timed; one that differs is not timed. Then
come rounds: in each, every other engine's turn lies next to one of wgru's, in alternating order,
so that a ratio compares times of the same moment. The table gives the median of those ratios.
"""

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from case import Case

HERE = Path(__file__).resolve().parent
# Largest difference from the f64 reference: rounding stays below 1e-5, a swapped gate or the other
# reset form is above 1e-2.
TOLERANCE = 1e-4
# ONNX Runtime's and PyTorch's threads spin after a run and would take a core from the next.
SETTLE = {"onnxruntime": 0.1, "pytorch": 0.1}
# These write pages of their own state to standard error.
CHATTY = {"burn-wgpu", "rlx-wgpu"}


def engines(kind, programs, threads):
    """Name to command; wgru is first."""

    def rust(name, *arguments):
        return [str(programs / f"peer-{name}"), *map(str, arguments)]

    if kind == "lavapipe":
        return {
            "wgru": rust("wgru", "lavapipe"),
            "burn-wgpu": rust("burn-wgpu"),
            "rlx-wgpu": rust("rlx-wgpu"),
        }
    return {
        "wgru": rust("wgru", "cpu", threads),
        "onnxruntime": [sys.executable, str(HERE / "ort_cpu.py"), str(threads)],
        "pytorch": [sys.executable, str(HERE / "torch_cpu.py"), str(threads)],
        "burn-flex": rust("burn", "flex"),
        "burn-ndarray": rust("burn", "ndarray"),
        "candle": rust("candle"),
        "rten": rust("rten", threads),
        "tract": rust("tract", threads),
    }


# Mesa 22.3 crashes while burn tunes: on a quiet machine every time with burn's default
# of many tasks a submission, on most shapes with one too. A caller's driver has burn's defaults.
# An engine that ends before it is timed is started again, so often.
EXTRA = {} if os.environ.get("VK_DRIVER_FILES") else {"burn-wgpu": {"CUBECL_WGPU_MAX_TASKS": "1"}}
STARTS = 4
ENDED = "the engine's process has ended"


class Failed(Exception):
    """Why an engine gives no time."""


class Engine:
    """A running engine."""

    def __init__(self, name, command, environment):
        self.name, self.command, self.environment = name, command, environment
        self.start()

    def start(self):
        try:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL if self.name in CHATTY else None,
                text=True, env={**os.environ, **self.environment},
            )
        except OSError as error:
            raise Failed(f"does not start: {error.strerror}") from error
        self.version = self.read()["version"]

    def read(self):
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        raise Failed(ENDED)

    def ask(self, line):
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Failed(ENDED) from error
        answer = self.read()
        if reason := answer.get("unsupported") or answer.get("error"):
            raise Failed(reason)
        return answer

    def check(self, folder, expected):
        """Loads the case of `folder` and compares its output; the largest difference."""
        self.ask(f"load {folder}")
        path = f"{folder}/output.f32"
        self.ask(f"output {path}")
        output = np.fromfile(path, "<f4")
        if output.size != expected.size:
            raise Failed(f"gives {output.size} values, not {expected.size}")
        worst = float(np.max(np.abs(output - expected)))
        if not worst <= TOLERANCE:
            raise Failed(f"wrong: differs from the f64 reference by {worst:.2g}")
        return worst

    def times(self, count, clock="wall"):
        """Milliseconds of `count` runs."""
        answer = self.ask(f"time {count}")
        seconds = answer["cpu_seconds" if clock == "cpu" else "seconds"]
        time.sleep(SETTLE.get(self.name, 0))
        return [s * 1e3 for s in seconds]

    def warm(self, clock):
        """Runs until that makes calls no quicker: engines compile and tune at first. Milliseconds
        of the quickest call."""
        best = min(self.times(1, clock))
        for _ in range(20):
            calls = 1 if best > 500 else 3
            quickest = min(self.times(calls, clock))
            if quickest > 0.9 * best:
                break
            best = quickest
        return min(best, quickest)

    def prepare(self, folder, expected, clock):
        """Loads, checks and warms; the largest difference, and milliseconds of a call."""
        for start in range(1, STARTS + 1):
            try:
                return self.check(folder, expected), self.warm(clock)
            except Failed as error:
                if str(error) != ENDED or start == STARTS:
                    raise
                self.close()
                self.start()

    def close(self):
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.wait()


def drivers(files):
    """What `files`, a VK_DRIVER_FILES, names: each manifest, and the Mesa in its library's text."""
    for path in map(Path, files.split(":")):
        try:
            library = path.parent / json.loads(path.read_text())["ICD"]["library_path"]
            mesa = re.search(rb"Mesa \d+\.[\w.+~-]+", library.read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            # A folder, or a library that the system's loader finds by its name.
            mesa = None
        yield f"{path.name} of {mesa[0].decode()}" if mesa else path.name


def header(args):
    cpu = next(
        (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if "model name" in line), None
    )
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "cpu": cpu, "threads": os.cpu_count(), "load_average": list(os.getloadavg()),
        "compared_on": args.kind, "rounds": args.rounds, "clock": args.clock,
        **({"driver": args.driver} if args.driver else {}),
    }


def record(args, row, reset, engine, samples, worst):
    device = "cpu" if args.kind == "cpu" else "lavapipe"
    calls, middle = sorted(samples), statistics.median(samples)
    result = {
        **{k: row[k] for k in ("name", "B", "T", "I", "H", "L", "bi")},
        "engine": engine.name, "version": engine.version, "device": device,
        "kind": "cpu" if args.kind == "cpu" else "software", "mode": "f32", "reset": reset,
        "e2e_ms": middle, "e2e_p95_ms": calls[int(len(calls) * 0.95)], "e2e_min_ms": calls[0],
        "runs": len(calls),
        "us_per_cell_step": middle * 1e3 / (row["T"] * row["L"] * (2 if row["bi"] else 1)),
        "row_steps_per_s": row["B"] * row["T"] * 1e3 / middle,
        "verified": {"values": row["T"] * row["B"] * row["H"] * (2 if row["bi"] else 1),
                     "worst_difference": worst,
                     "whole_output": f"within {TOLERANCE:g} of the f64 reference"},
    }
    if args.kind == "cpu":
        result["ms"], result["threads"] = middle, args.threads
    return result


def prepare(row, reset, reference, folder):
    """Writes the case to `folder`; the reference's output, computed unless it lies there."""
    folder.mkdir(parents=True, exist_ok=True)
    Case(row, reset).write(folder)
    digest = hashlib.sha256()
    for name in ("case.json", "x.f32", "weights.f32"):
        digest.update((folder / name).read_bytes())
    known, expected = folder / "expected.sha256", folder / "expected.f32"
    if not known.exists() or known.read_text() != digest.hexdigest():
        reference.ask(f"load {folder}")
        reference.ask(f"output {expected}")
        known.write_text(digest.hexdigest())
    return np.fromfile(expected, "<f4")


def compare(args, row, reset, ours, peers, reference, folder):
    """The records of one row and reset form."""
    expected = prepare(row, reset, reference, folder)
    results, running, samples, counts = [], [], {}, {}
    for engine in [ours, *peers]:
        try:
            worst, once = engine.prepare(folder, expected, args.clock)
        except Failed as error:
            device = "cpu" if args.kind == "cpu" else "lavapipe"
            results.append({"name": row["name"], "engine": engine.name, "device": device,
                            "reset": reset, "version": engine.version, "error": str(error)})
            print(f"{row['name']} {reset} {engine.name}: {error}", file=sys.stderr)
            continue
        running.append((engine, worst))
        samples[engine.name] = []
        counts[engine.name] = max(1, min(2000, int(args.slice * 1e3 / once)))
    if not running or running[0][0] is not ours:
        return results
    ratios = {engine.name: [] for engine, _ in running[1:]}
    for turn in range(args.rounds):
        for peer, _ in running[1:] if len(running) > 1 else [(None, 0)]:
            pair = [e for e in (ours, peer) if e]
            middles = {}
            for engine in pair if turn % 2 == 0 else pair[::-1]:
                times = engine.times(counts[engine.name], args.clock)
                samples[engine.name] += times
                middles[engine.name] = statistics.median(times)
            if peer:
                ratios[peer.name].append(middles[peer.name] / middles[ours.name])
    for engine, worst in running:
        result = record(args, row, reset, engine, samples[engine.name], worst)
        if engine is not ours:
            result["over_wgru"] = statistics.median(ratios[engine.name])
            result["over_wgru_range"] = [min(ratios[engine.name]), max(ratios[engine.name])]
        results.append(result)
        ratio = f"{result['over_wgru']:8.2f} x" if engine is not ours else ""
        print(f"{row['name']:12} {reset:6} {engine.name:13} {result['e2e_ms']:10.4f} ms {ratio}",
              file=sys.stderr)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kind", choices=["cpu", "lavapipe"])
    parser.add_argument("--json", type=Path, help="where the records go; default: standard output")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slice", type=float, default=0.1, help="seconds of an engine's turn")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall",
        help="cpu: time of the process's threads, for one thread on a busy machine",
    )
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--engines", nargs="*", help="names of engines beside wgru")
    parser.add_argument("--reset", nargs="+", choices=["after", "before"],
                        default=["after", "before"])
    parser.add_argument("--driver", help="lavapipe: the driver in the record's words; "
                        "default: its manifest's name, and the Mesa that its library names")
    parser.add_argument("--programs", type=Path, required=True, help="folder of the built programs")
    parser.add_argument("--cases", type=Path, help="folder that keeps cases and expected outputs")
    parser.add_argument("--prepare", action="store_true", help="only fill the folder --cases")
    parser.add_argument("--ours", help="another program in place of wgru's")
    args = parser.parse_args()
    if args.clock == "cpu" and (args.kind != "cpu" or args.threads != 1):
        parser.error("--clock cpu compares processors, of --threads 1")
    if args.driver and args.kind != "lavapipe":
        parser.error("--driver is of lavapipe")

    if args.kind == "cpu":
        grid = json.loads((HERE.parent / "grid.json").read_text())
        rows = [row for row in grid if "bar" in row["groups"]]
    else:
        rows = json.loads((HERE / "software.json").read_text())
    commands = engines(args.kind, args.programs, args.threads)
    for what, names, known in (("row", args.only, [row["name"] for row in rows]),
                               ("engine", args.engines, list(commands))):
        if unknown := [name for name in names or () if name not in known]:
            parser.error(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    rows = [row for row in rows if not args.only or row["name"] in args.only]
    if args.ours:
        commands["wgru"] = args.ours.split()
    variables = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MATMUL_NUM_THREADS")
    environment = dict.fromkeys(variables, str(args.threads))
    if args.kind == "lavapipe":
        # A caller's driver stands: newer ones than the system's are compared so.
        icds = Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json")
        files = os.environ.get("VK_DRIVER_FILES") or str(next(icds, "lvp_icd.json"))
        environment = {"VK_DRIVER_FILES": files}
        args.driver = args.driver or ", ".join(drivers(files))
    reference = Engine("reference", [str(args.programs / "peer-wgru"), "reference"], {})
    temporary = tempfile.TemporaryDirectory()
    cases = args.cases or Path(temporary.name)
    if args.prepare:
        for row in rows:
            for reset in args.reset:
                prepare(row, reset, reference, cases / f"{row['name']}-{reset}")
        return
    report = {"format": "wgru-bench-1", "header": header(args), "rows": [], "skipped": []}
    began, running = time.monotonic(), []
    for name, command in commands.items():
        if name != "wgru" and args.engines is not None and name not in args.engines:
            continue
        try:
            running.append(Engine(name, command, {**environment, **EXTRA.get(name, {})}))
        except Failed as error:
            report["skipped"].append({"name": "*", "device": name, "reason": str(error)})
            print(f"{name}: {error}", file=sys.stderr)
    if not running or running[0].name != "wgru":
        sys.exit("wgru itself does not start")
    for row in rows:
        for reset in args.reset:
            folder = cases / f"{row['name']}-{reset}"
            report["rows"] += compare(
                args, row, reset, running[0], running[1:], reference, folder
            )
    for engine in [*running, reference]:
        engine.close()
    report["header"]["load_average_end"] = list(os.getloadavg())
    report["header"]["seconds"] = round(time.monotonic() - began, 1)
    text = json.dumps(report, indent=1)
    if args.json:
        args.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
