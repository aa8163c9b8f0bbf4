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
from known import reason

from mlconvert.readers.tensorflow_runtime import import_tensorflow


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", help="cases whose name holds this text")
    parser.add_argument("--part", default="1/1", help="K/N: the K-th of N parts")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--dynamic", action="store_true", help="no length of any input is known at conversion")
    modes.add_argument("--double", action="store_true", help="the cases of float32 in double")
    parser.add_argument("--json", type=Path, help="write the results there")
    asked = parser.parse_args()
    part, parts = map(int, asked.part.split("/"))
    import_tensorflow()
    wanted = [case for case in suite.cases() if asked.k.lower() in case.name.lower()][part - 1 :: parts]
    if asked.dynamic:
        wanted = [suite.as_dynamic(case) for case in wanted]
    if asked.double:
        wanted = [double for case in wanted if (double := suite.as_double(case)) is not None]
    if not wanted:
        parser.error("no case of the suite is meant")
    results = []
    for result in suite.run(wanted):
        results.append(result)
        known = reason(result.case, result.mode)
        if result.problem:
            print(f"{'known  ' if known else 'FAILED '} {result.case}: {result.problem}", flush=True)
        elif known:
            print(f"passes  {result.case}, although it is in the table: {known}", flush=True)
    passed, total = Counter(), Counter()
    for result in results:
        total[result.kind, result.domain] += 1
        passed[result.kind, result.domain] += result.problem is None
    for key in sorted(total):
        share = passed[key] / total[key]
        print(f"{key[0]:18} {key[1]:28} {passed[key]:5} of {total[key]:5} pass ({share:.1%})")
    if asked.json:
        asked.json.write_text(json.dumps([vars(result) for result in results], indent=1))
    return int(any(result.problem and not reason(result.case, result.mode) for result in results))


if __name__ == "__main__":
    sys.exit(main())
