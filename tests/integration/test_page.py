"""The page on the admin port, as a headless Chromium shows it, and what goes over the wire for it."""

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.admin.page import FOLDER
from tests.harness.agent import AgentProcess
from tests.harness.browser import Browser, chromium
from tests.harness.client import RawClient
from tests.harness.fabric import AdminThread, FakeFabric, configuration, member
from tests.harness.upstream import Received, Upstream, response
from tests.harness.wait import wait_until

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
needs_a_browser = pytest.mark.skipif(chromium() is None, reason="there is no Chromium")
pytestmark = pytest.mark.xdist_group("browser")


@pytest.fixture(scope="module")
def shared() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def browser(shared: Browser) -> Iterator[Browser]:
    """With nothing to complain about at the end."""
    shared.problems.clear()
    yield shared
    shared.open("about:blank")
    assert shared.problems == []


def ask(address: str, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def change(admin: AdminThread, number: int, **values: object) -> None:
    """A member is otherwise from now on; nobody is told."""
    fabric = admin.fabric
    assert fabric is not None
    admin.do(lambda: fabric.rows[number].update(values))


@needs_a_browser
def test_members_and_their_changes_are_shown(tmp_path: Path, browser: Browser) -> None:
    with AdminThread(configuration(tmp_path), FakeFabric()) as admin:
        browser.open(f"{admin.url}/")
        shown = browser.shows("#members", "web-2", "web-3", "zone a", "zone b", "eu-1")
        assert "test-1 (this)" in shown
        browser.shows("#who", "test-1 in blue")
        browser.shows("#latency", "0.42", "0.50")
        browser.shows("#cache", "80 %")
        browser.shows("#live", "live")
        change(admin, 1, state="dead", health=None)
        browser.shows("#members", "dead", "1 of 2 alive")
        change(admin, 2, health={"level": "degraded", "reason": "event loop lags"})
        browser.shows("#members", "degraded")
        browser.shows("#summary", "2\nsee members")


@needs_a_browser
def test_an_endpoint_is_followed_from_use_to_failure_without_a_cluster(browser: Browser) -> None:
    well = True

    def application(request: Received) -> bytes:
        if request.target == "/health":
            return response("", 200 if well else 503)
        return response("hello", headers=[("Cache-Control", "max-age=60")])

    with Upstream(application) as upstream:
        health = {"path": "/health", "interval": "100ms", "timeout": "1s", "unhealthy": 1}
        services = {"web": {"hosts": ["web"], "endpoints": [upstream.address], "cache": {"enabled": True}, "health": health}}
        with AgentProcess({"services": services}) as agent:
            with RawClient(agent.egress) as client:
                for _ in range(4):
                    client.get("/kept", "web")
            browser.open(f"http://{agent.admin[0]}:{agent.admin[1]}/")
            browser.shows("#services", "web", upstream.address, "usable", "closed")
            browser.shows("#summary", "75 %", "1 of 1")
            browser.shows("#members", "No cluster is configured", "test-1")
            browser.shows("#events", "appear here")
            well = False
            browser.shows("#services", "unhealthy")


@needs_a_browser
def test_what_members_call_themselves_is_text(tmp_path: Path, browser: Browser) -> None:
    fabric = FakeFabric()
    fabric.rows[1] = member(HOSTILE, zone=HOSTILE, tags={HOSTILE: HOSTILE}, health={"level": HOSTILE, "reason": HOSTILE})
    with AdminThread(configuration(tmp_path), fabric) as admin:
        browser.open(f"{admin.url}/")
        browser.shows("#members", HOSTILE)
        browser.shows("#latency", HOSTILE)
        admin.do(lambda: fabric.emit("join", HOSTILE, HOSTILE))
        browser.shows("#events", HOSTILE)
        assert browser.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert browser.evaluate("document.title") == "Pilotfish test-1"


@needs_a_browser
def test_events_are_followed_and_bring_news_at_once(tmp_path: Path, browser: Browser) -> None:
    fabric = FakeFabric()
    with AdminThread(configuration(tmp_path), fabric) as admin:
        admin.do(lambda: fabric.emit("join", "early"))
        browser.open(f"{admin.url}/")
        browser.shows("#events", "join", "early")
        ring = admin.server._cluster.ring
        wait_until(lambda: ring.readers == 1, "the page follows the stream")
        for kind in ("leave", "fail", "suspect", "refute", "update", "key", "reap", "conflict", "something"):
            admin.do(lambda kind=kind: fabric.emit(kind, f"late-{kind}"))
            browser.shows("#events", f"late-{kind}")
        browser.open("about:blank")
        wait_until(lambda: ring.readers == 0, "the page is gone from the stream")


@needs_a_browser
def test_a_member_is_opened_from_the_keyboard_and_stays_open(tmp_path: Path, browser: Browser) -> None:
    fabric = FakeFabric()
    with AdminThread(configuration(tmp_path), fabric) as admin:
        browser.open(f"{admin.url}/")
        browser.shows("#members", "web-3")
        for _ in range(20):
            browser.key("Tab")
            if browser.evaluate("document.activeElement.innerText.includes('web-2')"):
                break
        browser.key("Enter")
        browser.shows("details[open]", "web-2", "incarnation 3")
        fabric.rows.insert(1, member("web-1"))  # before it, in the same zone
        admin.do(lambda: fabric.emit("join", "web-1"))
        browser.shows("#members", "web-1")
        assert "web-2" in browser.text("details[open]")
        assert browser.evaluate("document.activeElement.innerText.includes('web-2')")


@needs_a_browser
def test_an_agent_that_is_gone_is_told(tmp_path: Path, browser: Browser) -> None:
    with AdminThread(configuration(tmp_path)) as admin:
        browser.open(f"{admin.url}/")
        browser.shows("#live", "live")
    browser.shows("#live", "no answer")
    assert browser.evaluate("document.body.className") == "stale"
    browser.problems.clear()


@needs_a_browser
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_takes_the_colours_that_are_preferred_and_fits_a_narrow_screen(tmp_path: Path, browser: Browser, dark: bool) -> None:
    with AdminThread(configuration(tmp_path), FakeFabric()) as admin:
        browser.open(f"{admin.url}/")
        browser.shows("#members", "web-2")
        assert browser.screenshot(width=400, height=800, dark=dark)[:4] == b"\x89PNG"
        assert browser.evaluate("document.documentElement.scrollWidth") <= 400
        ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        light = sum(map(int, re.findall(r"\d+", ground)[:3])) / 3
        assert (light < 64) == dark


def test_the_files_are_served_with_a_policy_and_nothing_else_is(tmp_path: Path) -> None:
    with AdminThread(configuration(tmp_path)) as admin:
        for path in ("/", *(f"/ui/{file.name}" for file in FOLDER.iterdir())):
            status, body, headers = ask(admin.address, path)
            assert status == 200
            assert headers["Content-Security-Policy"].startswith("default-src 'self';")
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert body
            status, body, _ = ask(admin.address, path, If_None_Match=headers["ETag"])
            assert (status, body) == (304, b"")
        for path in ("/ui/", "/ui/page.py", "/ui/../page.py", "/ui/..%2fpage.py", "/ui/%2e%2e/page.py", "/index.html"):
            status, body, _ = ask(admin.address, path)
            assert status == 404
            assert json.loads(body)["error"]


def test_the_page_needs_nothing_from_elsewhere_and_makes_no_markup() -> None:
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//cdn|innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text), file
    index = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|<script(?![^>]* src=)| on\w+=| style=", index)
    for name in re.findall(r'(?:src|href)="/ui/([^"]+)"', index):
        assert (FOLDER / name).is_file()
    for file in FOLDER.glob("*.js"):
        assert len(file.read_text(encoding="utf-8").splitlines()) < 200
