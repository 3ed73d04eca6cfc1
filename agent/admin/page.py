"""The page that shows the mesh: a few files that come with the agent, read when they are first asked for."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "ui"
KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
SAFE: Final = {
    # Nothing from elsewhere, no inline script or style, no frame around it: a member's name that is markup stays text, and harmless.
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def register(router: web.UrlDispatcher) -> None:
    router.add_get("/", index)
    router.add_get("/ui/{name}", file)


async def index(request: web.Request) -> web.Response:
    return _answer(request, "index.html")


async def file(request: web.Request) -> web.Response:
    return _answer(request, request.match_info["name"])


def _answer(request: web.Request, name: str) -> web.Response:
    found = _files().get(name)
    if found is None:
        return web.json_response({"error": "Not Found"}, status=404)
    kind, body, tag = found
    headers = {**SAFE, "ETag": tag}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


@cache
def _files() -> dict[str, tuple[str, bytes, str]]:
    """By name, the kind, the octets and the entity tag: nothing else can be asked for."""
    found = {}
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in KINDS:
            body = path.read_bytes()
            found[path.name] = (KINDS[path.suffix], body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
    return found
