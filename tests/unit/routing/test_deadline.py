"""Deadlines: read in both forms, passed on as what is left, less for each later try."""

import pytest

from agent.core.routing.deadline import deadline_lines, deadline_of, with_less_time
from tests.unit.routing.support import head_of


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ("X-Request-Timeout-Ms: 250", 0.25),
        ("X-Request-Timeout-Ms: 0", 0.0),
        ("grpc-timeout: 100m", 0.1),
        ("grpc-timeout: 2S", 2.0),
        ("grpc-timeout: 1M", 60.0),
        ("grpc-timeout: 1H", 3600.0),
        ("grpc-timeout: 5000u", 0.005),
        ("grpc-timeout: 9n", 9e-9),
        ("X-Request-Timeout-Ms: 250\ngrpc-timeout: 1S", 0.25),
        ("X-Request-Timeout-Ms: 2500\ngrpc-timeout: 1S", 1.0),
        ("X-Request-Timeout-Ms: soon", None),
        ("X-Request-Timeout-Ms: -1", None),
        ("grpc-timeout: 123456789S", None),
        ("grpc-timeout: 1", None),
        ("Accept: */*", None),
    ],
)
def test_what_a_client_may_send(lines: str, seconds: float | None) -> None:
    found = deadline_of(head_of(f"GET / HTTP/1.1\nHost: x\n{lines}"))
    assert found == (pytest.approx(seconds) if seconds is not None else None)


def test_what_is_left_goes_on_in_the_clients_form() -> None:
    plain = head_of("GET / HTTP/1.1\nHost: x\nX-Request-Timeout-Ms: 250")
    grpc = head_of("GET / HTTP/1.1\nHost: x\ngrpc-timeout: 1S")
    assert deadline_lines(plain, 0.2) == b"X-Request-Timeout-Ms: 200\r\n"
    assert deadline_lines(grpc, 0.9) == b"X-Request-Timeout-Ms: 900\r\ngrpc-timeout: 900m\r\n"
    assert deadline_lines(plain, -3.0) == b"X-Request-Timeout-Ms: 1\r\n"


def test_a_later_try_has_less() -> None:
    wire = b"GET /?a=X-Request-Timeout-Ms:%205 HTTP/1.1\r\nHost: x\r\nX-Request-Timeout-Ms: 900\r\ngrpc-timeout: 900m\r\n\r\n"
    assert with_less_time(wire, 0.25) == wire.replace(b"900", b"650")
    assert with_less_time(wire, 5.0) == wire.replace(b"900", b"1")
    assert with_less_time(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 5.0) == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
