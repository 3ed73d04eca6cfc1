"""By which names the admin listener answers."""

import pytest

from agent.admin.names import known_name


@pytest.mark.parametrize("arrived_at", ["127.0.0.1", "127.8.0.1", "::1"])
def test_on_loopback_a_name_must_be_loopbacks_or_an_address(arrived_at: str) -> None:
    assert known_name("LOCALHOST.:80", arrived_at)
    assert known_name("192.0.2.1", arrived_at)
    assert not known_name("", arrived_at)
    assert not known_name("agent.example", arrived_at)


@pytest.mark.parametrize("arrived_at", ["10.0.0.5", "2001:db8::1", ""])
def test_elsewhere_and_on_a_unix_socket_every_name_may_be_ours(arrived_at: str) -> None:
    assert known_name("agent.example:9901", arrived_at)
