"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
BOUND_S = 20.0


def wait_until(condition: Callable[[], T], what: str, bound_s: float = BOUND_S) -> T:
    """The first true value of `condition`. Raises AssertionError naming `what` where it stays false for `bound_s`."""
    end = time.monotonic() + bound_s
    last: Exception | None = None
    while True:
        try:
            value = condition()
            last = None
        except OSError as error:
            value = None
            last = error
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"waited {bound_s} s for {what}; last value {value!r}, last error {last!r}")
        time.sleep(0.01)
