"""A headless Chromium, driven through its debugging protocol: what a person would see of a page, and what the page complains about."""

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import aiohttp

from tests.harness.wait import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The path of a Chromium, where there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One tab. `problems` are uncaught errors and whatever the page or the browser (a policy that was broken) wrote as an error."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._runner = asyncio.Runner()
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._home = tempfile.mkdtemp(prefix="pilotfish-browser-")
        path = chromium()
        assert path is not None
        self._process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self._home}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "Browser":
        try:
            port_file = Path(self._home) / "DevToolsActivePort"
            wait_until(lambda: port_file.exists() and port_file.read_text().count("\n"), "the browser to listen", 60.0)
            self._runner.run(self._connect(int(port_file.read_text().split()[0])))
            for domain in ("Page", "Runtime", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if hasattr(self, "_session"):
            self._reading.cancel()
            self._runner.run(self._session.close())
        self._runner.close()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)
        shutil.rmtree(self._home, ignore_errors=True)

    async def _connect(self, port: int) -> None:
        self._session = aiohttp.ClientSession()
        for _ in range(1000):
            async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                tabs = [tab for tab in await answer.json() if tab["type"] == "page"]
            if tabs:
                break
            await asyncio.sleep(0.01)
        self._socket = await self._session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0)
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            if "id" in found:
                self._answers.pop(found["id"]).set_result(found)
            elif found["method"] == "Runtime.exceptionThrown":
                self.problems.append(str(found["params"]["exceptionDetails"]))
            elif found["method"] == "Log.entryAdded" and found["params"]["entry"]["level"] == "error":
                entry = found["params"]["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol and its result."""

        async def called() -> Any:
            self._number += 1
            answer = self._answers[self._number] = asyncio.get_running_loop().create_future()
            await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
            return await asyncio.wait_for(answer, 30)

        found = self._runner.run(called())
        assert "error" not in found, (method, found)
        return dict(found["result"])

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON has it."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def text(self, selector: str) -> str:
        """What is to be read in the first element that fits; empty where none does."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def shows(self, selector: str, *words: str) -> str:
        """Wait until all the words are to be read there."""
        wait_until(lambda: all(word in self.text(selector) for word in words), f"{words} in {selector}")
        return self.text(selector)

    def key(self, name: str) -> None:
        """Press and let go."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if name == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=name, code=name, windowsVirtualKeyCode=codes[name], **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=name, code=name, windowsVirtualKeyCode=codes[name])

    def screenshot(self, width: int = 1360, height: int = 0, dark: bool = False) -> bytes:
        """A PNG; height 0: all of the page."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height or 900, deviceScaleFactor=1, mobile=False)
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=height == 0)
        return base64.b64decode(shot["data"])
