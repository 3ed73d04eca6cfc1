"""Where the SDK looks for the local agent."""

import socket
from pathlib import Path

import pytest

from agent.client import address
from agent.client.address import find_admin, find_api


def test_the_argument_comes_first_then_the_environment_then_a_socket_then_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "api.sock"
    monkeypatch.setattr(address, "API_SOCKET", str(place))
    assert find_api(None, {}).base == "http://127.0.0.1:15030"
    assert "default" in find_api(None, {}).source and "$PILOTFISH_API" in find_api(None, {}).source
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        assert find_api(None, {}).socket == str(place)
        assert find_api(None, {"PILOTFISH_API": "10.0.0.1:80"}).base == "http://10.0.0.1:80"
        assert find_api("unix:/x", {"PILOTFISH_API": "10.0.0.1:80"}).socket == "/x"
    assert find_admin(None, {"PILOTFISH_API": "10.0.0.1:80"}).base == "http://127.0.0.1:15020"
    assert find_admin(None, {"PILOTFISH_ADMIN": "unix:///run/a.sock"}).socket == "/run/a.sock"


@pytest.mark.parametrize("text", ["http://[::1]:80/", "[::1]:80", "localhost:15030", "http://agent:1"])
def test_addresses(text: str) -> None:
    assert find_api(text).base == "http://" + text.removeprefix("http://").rstrip("/")


@pytest.mark.parametrize(
    "text", ["agent", "agent:", ":80", "agent:0", "agent:65536", "https://agent:80", "http://agent:80/path", "unix:x", "a:b"]
)
def test_what_is_no_address_says_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"the argument: found .*expected"):
        find_api(text)
