"""``python -m tests.conformance.cache_suite``: the figures, and each test that did not pass with the reason."""

import argparse
import json
import subprocess
import sys

from tests.conformance.cache_suite.runner import fetch, missing, run_suite, tally


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.cache_suite")
    parser.add_argument("--fetch", action="store_true", help="get the suite's package with npm where it is not here")
    parser.add_argument("--fetch-only", action="store_true", help="get it if that can be done, say so if not, and run nothing")
    parser.add_argument("--only", default="", help="run one test and show its messages")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON")
    args = parser.parse_args()
    failure = ""
    if (args.fetch or args.fetch_only) and missing():
        try:
            fetch()
        except (OSError, subprocess.SubprocessError) as error:
            failure = f" ({error})"
    why = missing()
    if args.fetch_only:
        if why:
            print(f"the public cache tests will be skipped: {why}{failure}", file=sys.stderr)
        return 0
    if why:
        print(f"cannot run: {why}{failure}", file=sys.stderr)
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
