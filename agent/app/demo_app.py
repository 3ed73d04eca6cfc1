"""One instance of the demo's application: a page, an API, an image of sorts; some instances are slow, one fails now and then."""

import asyncio
import contextlib
import random
import sys
import time
from typing import Any

from aiohttp import web


def make_app(name: str, delay_s: float, failing: float) -> web.Application:
    """failing: the share of requests answered 500."""
    dice = random.Random(name)

    async def page(request: web.Request) -> web.Response:
        await asyncio.sleep(delay_s * (0.5 + dice.random()))
        if dice.random() < failing:
            return web.json_response({"error": "bad luck", "instance": name}, status=500)
        headers = {"X-Instance": name}
        if request.path.startswith("/personas/"):
            headers |= {"Cache-Control": "max-age=5, stale-while-revalidate=10", "Cache-Tag": "personas"}
        elif request.path.startswith("/static/"):
            headers |= {"Cache-Control": "public, max-age=300"}
        else:
            headers |= {"Cache-Control": "no-store"}
        return web.json_response({"path": request.path, "instance": name, "at": time.time()}, headers=headers)

    async def health(request: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/health", health)
    app.router.add_route("*", "/{rest:.*}", page)
    return app


async def _serve(name: str, delay_s: float, failing: float) -> None:
    runner = web.AppRunner(make_app(name, delay_s, failing), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    address: Any = runner.addresses[0]
    print(address[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
