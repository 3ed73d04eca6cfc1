"""What is copied, and what is too large."""

from typing import Any

import pytest

from agent.hooks import RequestChanges
from agent.proxy.plugin_load import PluginError
from plugins.mirror import Mirroring
from tests.unit.plugins.support import Recorder, made, view


def mirror(recorder: Recorder, **config: Any) -> Mirroring:
    plugin: Mirroring = made("mirror", {"mirrors": [{"to": "shadow", **config}]})
    plugin.start(recorder)
    return plugin


def test_the_copy_is_the_request_marked_and_without_what_is_left_out() -> None:
    recorder = Recorder()
    plugin = mirror(recorder, remove_headers=["Authorization"])
    request = view("/a?b", "Cookie: a=1", "Cookie: b=2", "X-A: 1", "X-A: 2", "Authorization: secret", "Content-Length: 2", method="PUT")
    assert plugin.on_request(request) == RequestChanges(copy_body_bytes=65_536)
    plugin.on_request_body(request, b"hi")
    ((service, method, target, headers, body),) = recorder.sent
    assert (service, method, target, body) == ("shadow", "PUT", "/a?b", b"hi")
    assert headers == {"host": "test", "cookie": "a=1; b=2", "x-a": "1, 2", "content-length": "2", "x-pilotfish-mirror": "test"}
    assert recorder.counts == {"sent": 1}


def test_what_is_not_copied() -> None:
    recorder = Recorder()
    plugin = mirror(recorder, body_bytes_max="1KiB", match={"services": ["web"]})
    assert plugin.on_request(view("/", service="other")) is None
    assert plugin.on_request(view("/", "X-Pilotfish-Mirror: other")) is None
    assert plugin.on_request(view("/", "Content-Length: 1025", method="POST")) is None
    chunked = view("/", "Transfer-Encoding: chunked", method="POST")
    assert plugin.on_request(chunked) == RequestChanges(copy_body_bytes=1024)
    plugin.on_request_body(chunked, None)
    assert recorder.counts == {"too_large": 2} and not recorder.sent
    assert mirror(recorder).on_request(view("/", service="shadow")) is None


def test_what_cannot_be_sent_is_counted() -> None:
    recorder = Recorder(taken=False)
    mirror(recorder).on_request_body(view("/"), b"")
    assert recorder.counts == {"dropped": 1}


def test_the_share_is_the_share() -> None:
    plugin = mirror(Recorder(), share="25%")
    copied = sum(plugin.on_request(view("/")) is not None for _ in range(4000))
    assert 900 < copied < 1100


def test_the_first_limit_that_matches_holds() -> None:
    limits = [{"match": {"paths": ["/upload*"]}, "bytes": "1MiB"}, {"match": {"methods": ["POST"]}, "bytes": 100}]
    plugin = made("body_limit", {"limits": limits})
    assert plugin.on_request(view("/upload/a", "Content-Length: 5", method="POST")) == RequestChanges(body_bytes_max=1_048_576)
    assert plugin.on_request(view("/a", "Transfer-Encoding: chunked", method="POST")) == RequestChanges(body_bytes_max=100)
    assert plugin.on_request(view("/a", "Content-Length: 5", method="PUT")) is None
    assert plugin.on_request(view("/a")) is None


@pytest.mark.parametrize(
    ("name", "config", "path"),
    [
        ("body_limit", {"limits": [{"bytes": 0}]}, "plugins[0].config.limits[0].bytes"),
        ("body_limit", {"limits": [{"bytes": "1 league"}]}, "plugins[0].config.limits[0].bytes"),
        ("body_limit", {"limits": [{"bytes": 5, "match": {"path": ["/"]}}]}, "plugins[0].config.limits[0].match"),
        ("mirror", {"mirrors": [{"to": "web", "match": {"services": ["web"]}}]}, "plugins[0].config.mirrors[0].to"),
        ("mirror", {"mirrors": [{}]}, "plugins[0].config.mirrors[0]"),
        ("header_rules", {"rules": [{"request": {"set": {"Content-Length": "5"}}}]}, "plugins[0].config.rules[0].request.set"),
        ("header_rules", {"rules": [{"request": {"set": {"X-A": "{nothing}"}}}]}, "plugins[0].config.rules[0].request.set"),
        ("header_rules", {"rules": [{"response": {"set": {"X A": "b"}}}]}, "plugins[0].config.rules[0].response.set"),
        ("header_rules", {"rules": [{"response": {"set": {"X-A": "b\r\nc: d"}}}]}, "plugins[0].config.rules[0].response.set"),
        ("header_rules", {"rules": [{}, {"request": {"remove": ["Host"]}}]}, "plugins[0].config.rules[1].request.remove"),
        ("header_rules", {}, "plugins[0].config"),
    ],
)
def test_a_wrong_configuration_is_named_by_its_path(name: str, config: dict[str, Any], path: str) -> None:
    with pytest.raises(PluginError) as caught:
        made(name, config)
    assert caught.value.path == path
