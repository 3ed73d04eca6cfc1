"""``pilotfish why URL``: ask for the URL through the agent, and the agent why."""

import argparse
import json
import sys
import urllib.error
import urllib.request
import uuid
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from agent.app.admin_client import Admin, AdminError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url")
    parser.add_argument("--proxy", default="http://127.0.0.1:15001", help="the agent's egress listener")
    parser.add_argument("--admin", default="127.0.0.1:15020", help="the agent's admin address: host:port or unix:/path")
    parser.add_argument("--json", action="store_true")


def run(args: argparse.Namespace) -> int:
    try:
        found = ask(args.url, args.proxy, args.admin)
    except (OSError, ValueError, HTTPException, AdminError) as error:
        print(f"pilotfish why: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found, indent=2) if args.json else as_text(found))
    return 0


def ask(url: str, proxy: str, admin: str) -> dict[str, Any]:
    """The explanation of a new request: from its answer where the agent allows it, else from the admin API by its id.

    Raises OSError, ValueError or AdminError.
    """
    number = uuid.uuid4().hex
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
    request = urllib.request.Request(url, headers={"X-Request-Id": number, "X-Pilotfish-Why": "1"})
    request.set_proxy(urlsplit(proxy if "://" in proxy else f"http://{proxy}").netloc, "http")  # whatever $no_proxy says
    try:
        with opener.open(request, timeout=60) as answer:
            body = answer.read()
            told = answer.headers.get("X-Pilotfish-Why")
    except urllib.error.HTTPError as error:
        error.read()
        told = None
    if not told:
        return dict(Admin(admin).get(f"/why?id={number}"))
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("the answer is no explanation")
    return found


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        """The request that was asked about is this one, not where it leads."""


def as_text(found: dict[str, Any]) -> str:
    """An explanation for a person to read."""
    ask = found["request"]
    took = f"{found['ms']:g} ms"
    lines = [f"{ask['method']} http://{ask['authority']}{ask['target']} -> {found['status']} ({found['outcome']}) in {took}"]
    if found.get("flag"):
        lines.append(f"  {found['flag']}: {found['flag_meaning']}; {found['detail']}")
    for step in found["steps"]:
        at = f"{step['at_ms']:8.3f} ms" if "at_ms" in step else " " * 11
        rest = ", ".join(
            f"{key}={_short(value)}"
            for key, value in step.items()
            if key not in ("step", "at_ms", "compared") and value not in ("", None, [])
        )
        lines.append(f"{at}  {step['step']}: {rest}")
        for row in step.get("compared", []):
            more = ", ".join(f"{key}={_short(row[key])}" for key in ("ewma_ms", "in_flight", "breaker", "healthy") if key in row)
            lines.append(f"{'':15}{row['address']} cost {row['cost']:g}{' (' + more + ')' if more else ''}")
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key}={_short(item)}" for key, item in value.items()) + ")"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
