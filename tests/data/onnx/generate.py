"""Writes (or, with --check, compares) the ONNX files of this folder and what they must give. See README.md."""

import argparse
import json
import pathlib
import sys
import tempfile
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
sys.path.extend([str(HERE), str(HERE.parents[1] / "golden")])
import common  # noqa: E402
import operator_cases  # noqa: E402
import refused  # noqa: E402
import torch_cases  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    check = parser.parse_args().check
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    with tempfile.TemporaryDirectory() as scratch:
        target = pathlib.Path(scratch) if check else HERE
        for maker in (operator_cases, torch_cases):
            for case in maker.cases(target):
                common.write_or_check(HERE / f"{case['name']}.json", case, check)
        table = refused.table(target / "refused")
        text = json.dumps(table, indent=1) + "\n"
        path = HERE / "refused" / "table.json"
        if check:
            assert path.read_text() == text, "refused/table.json does not match what is computed now"
        else:
            path.write_text(text)


if __name__ == "__main__":
    main()
