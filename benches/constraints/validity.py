"""Validity of constrained JSON: random logits over the schemas of the JSON-Schema-Test-Suite and over generated ones.

    pip download --no-deps --no-binary :all: jsonschema
    STATEGPT_SCHEMA_SUITE=jsonschema-4.26.0.tar.gz python benches/constraints/validity.py --runs 10000 --out record.json

Each run draws uniformly among the allowed tokens until the output ends; the text must parse strictly (no key twice)
and satisfy the schema by jsonschema. Then every valid instance of the suite that JSON writes in one way must be
accepted, and no invalid one. Prints the counts and what failed; exits with 1 if anything did.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from constrained import accepts, random_output, start  # noqa: E402
from schema_runs import HOW, is_canonical, random_schema, strict, suite, suite_path, validator  # noqa: E402
from stategpt.errors import ConstraintError  # noqa: E402
from stategpt.generate.constraints import json_schema  # noqa: E402


class Tally:
    """Counts, and examples of what failed."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[dict[str, Any]] = []
        self.reasons: Counter[str] = Counter()

    def fail(self, kind: str, **what: Any) -> None:
        """Counts a failure and keeps it."""
        self.counts[kind] += 1
        self.failures.append({"kind": kind, **what})


def run(name: str, schema: Any, check: Any, seed: int, most: int, tally: Tally) -> None:
    """One output with random logits."""
    made = start(json_schema(schema))
    if not random_output(made, seed, most, hurry=most // 3):
        tally.counts["cut at the limit of tokens"] += 1
        return
    tally.counts["complete"] += 1
    try:
        value = strict(made.text)
    except (ValueError, RecursionError) as error:
        tally.fail("not strict JSON", name=name, text=made.text, error=str(error))
        return
    errors = [error.message[:200] for error in check.iter_errors(value)]
    if errors:
        tally.fail("invalid", name=name, schema=schema, text=made.text, error=errors[0])


def reach(name: str, schema: Any, valid: list[Any], invalid: list[Any], tally: Tally) -> None:
    """Whether valid instances are accepted, and invalid ones are not."""
    for instances, wanted in ((valid, True), (invalid, False)):
        for instance in instances:
            text = json.dumps(instance, separators=(",", ":"), ensure_ascii=False)
            if not is_canonical(instance):
                tally.counts["instances written in several ways"] += 1
                continue
            found = accepts(json_schema(schema), text)
            tally.counts[f"{'valid' if wanted else 'invalid'} instances {'accepted' if found else 'not accepted'}"] += 1
            if found != wanted:
                tally.failures.append({"kind": "reach", "name": name, "schema": schema, "text": text, "valid": wanted})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--generated", type=int, default=500)
    parser.add_argument("--most", type=int, default=240, help="most tokens of an output")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", type=int, nargs=2, default=(0, 1), metavar=("K", "N"), help="runs K, K + N, ... only")
    options = parser.parse_args()
    part, parts = options.part
    path = suite_path()
    if path is None:
        print(HOW)
        return 2
    tally = Tally()
    cases = []
    for case in suite(path):
        tally.counts["schemas of the suite"] += 1
        try:
            start(json_schema(case.schema))
        except ConstraintError as error:
            tally.counts["refused at compile"] += 1
            tally.reasons[f"{type(error).__name__}: {str(error)[:110]}"] += 1
            continue
        cases.append((case.name, case.schema, validator(case.schema, case.draft)))
        if part == 0:
            reach(case.name, case.schema, case.valid, case.invalid, tally)
    for seed in range(options.generated):
        schema = random_schema(seed)
        try:
            start(json_schema(schema))
        except ConstraintError as error:
            tally.fail("generated and refused", schema=schema, error=str(error)[:200])
            continue
        cases.append((f"generated {seed}", schema, validator(schema)))
    tally.counts["schemas run"] = len(cases)
    for number in range(part, options.runs, parts):
        name, schema, check = cases[number % len(cases)]
        run(name, schema, check, number, options.most, tally)
    record = {
        "counts": dict(sorted(tally.counts.items())),
        "refused": dict(tally.reasons.most_common()),
        "failures": tally.failures,
    }
    if options.out:
        options.out.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps({"counts": record["counts"], "failures": tally.failures[:40]}, indent=1, ensure_ascii=False))
    # Valid instances that are not reachable are listed, and no failure: the guide names the reasons.
    return int(any(failure["kind"] != "reach" or not failure["valid"] for failure in tally.failures))


if __name__ == "__main__":
    sys.exit(main())
