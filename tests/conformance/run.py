"""Runs the ONNX backend test suite, or a part of it, through SavedModels and prints what passed and what did not.

python tests/conformance/run.py [-k TEXT] [--part 1/8] [--dynamic] [--double] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import suite
from known import NOT_PASSING

from mlconvert.readers.tensorflow_runtime import import_tensorflow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", help="cases whose name holds this text")
    parser.add_argument("--part", default="1/1", help="K/N: the K-th of N parts")
    parser.add_argument("--dynamic", action="store_true", help="no length of any input is known at conversion")
    parser.add_argument("--double", action="store_true", help="the cases of float32 in double")
    parser.add_argument("--json", type=Path, help="write the results there")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    import_tensorflow()
    wanted = [case for case in suite.cases() if asked.k.lower() in case.name.lower()][part - 1 :: parts]
    if asked.double:
        wanted = [double for case in wanted if (double := suite.as_double(case)) is not None]
    results = []
    for result in suite.run(wanted, dynamic=asked.dynamic):
        results.append(result)
        if result.problem:
            reason = NOT_PASSING.get(result.case)
            print(f"{'known  ' if reason else 'FAILED '} {result.case}: {result.problem}", flush=True)
    passed, total = Counter(), Counter()
    for result in results:
        total[result.kind, result.domain] += 1
        passed[result.kind, result.domain] += result.problem is None
    for key in sorted(total):
        share = passed[key] / total[key]
        print(f"{key[0]:18} {key[1]:28} {passed[key]:5} of {total[key]:5} pass ({share:.1%})")
    if asked.json:
        asked.json.write_text(json.dumps([vars(result) for result in results], indent=1))
    return int(any(result.problem and result.case not in NOT_PASSING for result in results))


if __name__ == "__main__":
    sys.exit(main())
