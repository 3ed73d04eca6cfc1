"""Who is sent to the canary."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.proxy.plugin_load import PluginError
from plugins.canary import CanaryRelease
from tests.unit.plugins.support import Recorder, made, view


def canary(**config: Any) -> CanaryRelease:
    plugin: CanaryRelease = made("canary", {"canaries": [{"to": "next", **config}]})
    return plugin


def test_a_header_or_cookie_decides() -> None:
    plugin = canary(header="X-Canary", cookie="canary", share="100%")
    assert plugin.on_route(view("/", "X-Canary: always")) == "next"
    assert plugin.on_route(view("/", "X-Canary: never")) is None
    assert plugin.on_route(view("/", "Cookie: canary=1")) == "next"
    assert plugin.on_route(view("/", "Cookie: canary=0")) is None
    assert plugin.on_route(view("/", "X-Canary: never", "Cookie: canary=1")) is None
    assert plugin.on_route(view("/", "X-Canary: perhaps")) == "next"  # neither: the share decides
    assert canary(header="X-Canary").on_route(view("/", "X-Canary: perhaps")) is None


def test_only_what_matches() -> None:
    plugin = canary(match={"services": ["web"], "methods": ["GET"]}, share=1)
    recorder = Recorder()
    plugin.start(recorder)
    assert plugin.on_route(view("/", service="other")) is None
    assert plugin.on_route(view("/", method="POST")) is None
    assert plugin.on_route(view("/")) == "next"
    assert recorder.counts == {"to_next": 1}


@given(who=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), low=st.floats(0, 1), high=st.floats(0, 1))
def test_the_same_caller_gets_the_same_side_and_stays_in_as_the_share_grows(who: str, low: float, high: float) -> None:
    low, high = sorted((low, high))
    small, large = canary(share=low, sticky="header:X-User"), canary(share=high, sticky="header:X-User")
    request = view("/", f"X-User: {who}")
    assert small.on_route(request) == small.on_route(view("/other", f"X-User: {who}", client="10.0.0.9"))
    if small.on_route(request):
        assert large.on_route(request)


def test_the_share_is_the_share_and_the_salt_chooses_others() -> None:
    users = [f"user-{number}" for number in range(10_000)]
    chosen = {user for user in users if canary(share="20%", sticky="cookie:u").on_route(view("/", f"Cookie: u={user}"))}
    others = {user for user in users if canary(share="20%", sticky="cookie:u", salt="b").on_route(view("/", f"Cookie: u={user}"))}
    assert 1800 < len(chosen) < 2200 and 250 < len(chosen & others) < 550


def test_a_wrong_sticky_is_named() -> None:
    with pytest.raises(PluginError, match=r"plugins\[0\]\.config\.canaries\[0\]\.sticky"):
        canary(sticky="header")
    with pytest.raises(PluginError, match=r"plugins\[0\]\.config\.canaries\[0\]\.share.*<= 1"):
        canary(share=2)
