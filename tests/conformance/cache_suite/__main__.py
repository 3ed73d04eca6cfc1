"""``python -m tests.conformance.cache_suite``: the figures, and each test that did not pass with the reason."""

import argparse
import json
import sys

from tests.conformance.cache_suite.runner import fetch, missing, run_suite, tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.cache_suite")
    parser.add_argument("--fetch", action="store_true", help="get the suite's package with npm where it is not here")
    parser.add_argument("--only", default="", help="run one test and show its messages")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    args = parser.parse_args()
    if args.fetch and missing():
        fetch()
    why = missing()
    if why:
        print(f"cannot run: {why}", file=sys.stderr)
        return 2
    report = run_suite(args.only)
    if args.json:
        print(json.dumps(report, indent=1))
        return 0
    for kind in ("required", "optimal"):
        passed, total = tally(report, kind)
        print(f"{kind}: {passed} of {total} passed ({passed / max(total, 1):.1%})")
        for row in report:
            if row["kind"] == kind and row["verdict"] != "pass":
                print(f"  {row['verdict']:10} {row['id']}: {row['name']} - {row['detail']}")
    yes = sum(row["verdict"] == "yes" for row in report if row["kind"] == "check")
    print(f"checks (how a cache behaves, neither right nor wrong): {yes} yes of {sum(row['kind'] == 'check' for row in report)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
