"""A network of a test's own, in which it may add addresses and drop packets. Needs root."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator

import pytest

NEW_NETWORK = 0x40000000


@contextlib.contextmanager
def own_network(*addresses: str) -> Iterator[None]:
    """This thread, and what it starts, in a new network namespace with loopback alone, which has these addresses (``address/bits``)."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(NEW_NETWORK) != 0:
            pytest.skip(f"no new network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            run("ip", "link", "set", "lo", "up")
            for address in addresses:
                run("ip", "address", "add", address, "dev", "lo")
            yield
        finally:
            if libc.setns(before, NEW_NETWORK) != 0:
                os._exit(70)  # every later test would run in the wrong network
    finally:
        os.close(before)


def run(*words: str, stdin: str = "") -> None:
    """Skips the test where the kernel cannot do it."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, check=False)
    if any(sign in done.stderr for sign in ("not permitted", "not supported", "No such file", "can't initialize")):
        pytest.skip(f"{' '.join(words)}: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
