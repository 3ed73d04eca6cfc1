"""``pilotfish why URL``: ask for the URL through the agent, then ask the agent why."""

import argparse
import json
import sys
import urllib.error
import urllib.request
import uuid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url")
    parser.add_argument("--proxy", default="http://127.0.0.1:15001", help="the agent's egress listener")
    parser.add_argument("--admin", default="http://127.0.0.1:15020")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    number = uuid.uuid4().hex
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": args.proxy}))
    request = urllib.request.Request(args.url, headers={"X-Request-Id": number})
    try:
        try:
            opener.open(request, timeout=60).read()
        except urllib.error.HTTPError as error:
            error.read()
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{args.admin}/why?id={number}", timeout=5) as answer:
            found = json.load(answer)
    except (OSError, ValueError) as error:
        print(f"pilotfish why: {error}", file=sys.stderr)
        return 1
    if args.json:
        print(json.dumps(found, indent=2))
        return 0
    ask = found["request"]
    print(f"{ask['method']} http://{ask['authority']}{ask['target']} -> {found['status']} ({found['outcome']})")
    if found.get("flag"):
        print(f"  {found['flag']}: {found['flag_meaning']}; {found['detail']}")
    for step in found["steps"]:
        rest = ", ".join(f"{key}={value}" for key, value in step.items() if key != "step" and value not in ("", None))
        print(f"  {step['step']}: {rest}")
    return 0
