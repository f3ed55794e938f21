"""Runs compare.py a row and reset form at a time and writes one file of records.

    python slices.py FILE [--with COMMAND] [--only ROW...] [--reset FORM...] -- cpu [OPTIONS of compare.py]

COMMAND runs each slice (a lock, for a machine that is shared). A slice that FILE already has is
not run again, so that a run that was cut off goes on where it was; its header lists the slices.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent


def replace(file, text):
    """Writes the whole of `file` or nothing: a run that is cut off keeps the slices before."""
    beside = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        beside.write_text(text)
        os.replace(beside, file)
    finally:
        beside.unlink(missing_ok=True)


def main():
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--with", dest="command", default="")
    parser.add_argument("--only", nargs="*", help="names of rows")
    parser.add_argument("--reset", nargs="+", choices=["after", "before"],
                        default=["after", "before"])
    args, options = parser.parse_args(sys.argv[1:at]), sys.argv[at + 1 :]
    if not options:
        parser.error("the options of compare.py follow --")
    if options[0] == "cpu":
        rows = [r for r in json.loads((HERE.parent / "grid.json").read_text()) if "bar" in r["groups"]]
    else:
        rows = json.loads((HERE / "software.json").read_text())
    known = [row["name"] for row in rows]
    if unknown := [name for name in args.only or () if name not in known]:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(known)}")
    report = json.loads(args.file.read_text()) if args.file.exists() else None
    for row in (name for name in known if not args.only or name in args.only):
        for reset in args.reset:
            slices = report["header"]["slices"] if report else []
            if any(s["name"] == row and s["reset"] == reset for s in slices):
                continue
            with tempfile.NamedTemporaryFile(suffix=".json") as piece:
                command = [*args.command.split(), sys.executable, str(HERE / "compare.py"), *options,
                           "--only", row, "--reset", reset, "--json", piece.name]
                subprocess.run(command, check=True)
                added = json.loads(Path(piece.name).read_text())
            header = added["header"]
            times = {k: header[k] for k in
                     ("date", "load_average", "load_average_end", "seconds")}
            if report is None:
                report = {**added, "header": {**header, "seconds": 0, "slices": []},
                          "rows": [], "skipped": []}
            if header.get("driver") != report["header"].get("driver"):
                sys.exit(f"{args.file} is of the driver {report['header'].get('driver')}, "
                         f"this slice of {header.get('driver')}")
            report["rows"] += added["rows"]
            report["skipped"] += [s for s in added["skipped"] if s not in report["skipped"]]
            report["header"]["load_average_end"] = header["load_average_end"]
            report["header"]["seconds"] += header["seconds"]
            report["header"]["slices"].append({"name": row, "reset": reset, **times})
            replace(args.file, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
