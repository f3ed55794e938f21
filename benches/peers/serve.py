"""The lines that a Python engine answers; `peer/src/lib.rs` describes them."""

import json
import sys
import time


class Unsupported(Exception):
    """Why an engine cannot run a case."""


def serve(engine, version, load):
    """`load(folder)` gives an object with `run()` and `output()`, `[T, B, D*H]` as numpy."""

    def say(answer):
        print(json.dumps(answer), flush=True)

    say({"engine": engine, "version": version})
    network = None
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        try:
            if word == "load":
                network = None
                network = load(rest)
                say({"ok": True})
            elif network is None:
                say({"error": "no case is loaded"})
            elif word == "output":
                network.run()
                network.output().astype("<f4").tofile(rest)
                say({"ok": True})
            elif word == "time":
                seconds, cpu_seconds = [], []
                for _ in range(int(rest)):
                    # The clock is read next to the run, as in peer/src/lib.rs.
                    cpu = time.process_time()
                    began = time.perf_counter()
                    network.run()
                    seconds.append(time.perf_counter() - began)
                    cpu_seconds.append(time.process_time() - cpu)
                say({"seconds": seconds, "cpu_seconds": cpu_seconds})
            else:
                say({"error": f"unknown line {word!r}"})
        except Unsupported as error:
            say({"unsupported": str(error)})
