"""A program in a terminal of its own, read and waited for with a bound."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from pathlib import Path

BOUND_S = 60.0


class Terminal:
    """`command` runs as a shell would run it in a terminal: a session and a foreground process group of its own."""

    def __init__(self, command: Sequence[str], cwd: Path, columns: int = 130, lines: int = 45) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            command,
            cwd=cwd,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            # What the caller's terminal measured is not what this one measures.
            env={**{name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}, "TERM": "xterm-256color"},
        )
        os.close(slave)
        self.text = ""

    def until(self, pattern: str, what: str) -> re.Match[str]:
        """Read until the whole of what was shown since the last match contains `pattern`."""
        end = time.monotonic() + BOUND_S
        while not (found := re.search(pattern, self.text, re.DOTALL)):
            assert time.monotonic() < end, f"{what} was not shown: {self.text[-3000:]}"
            assert self._read(0.5), f"the program ended before {what} was shown: {self.text[-3000:]}"
        self.text = self.text[found.end() :]
        return found

    def press(self, key: str) -> None:
        """Type; the terminal turns Ctrl-C into SIGINT for the whole foreground process group."""
        os.write(self.master, key.encode())

    def hang_up(self) -> None:
        """Close the terminal: the kernel sends SIGHUP to the session."""
        os.close(self.master)
        self.master = -1

    def exit_code(self) -> int:
        """Read on until the program ends."""
        end = time.monotonic() + BOUND_S
        while self.master >= 0 and self._read(0.2):
            assert time.monotonic() < end, f"it does not end: {self.text[-3000:]}"
        return self.process.wait(max(end - time.monotonic(), 1.0))

    def _read(self, patience_s: float) -> bool:
        """Read what there is. False where there will be no more."""
        ready, _, _ = select.select([self.master], [], [], patience_s)
        if not ready:
            return self.process.poll() is None
        try:
            data = os.read(self.master, 65_536)
        except OSError:
            return False  # EIO: the other side is closed
        self.text += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode("utf-8", "replace"))
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
        if self.master >= 0:
            os.close(self.master)
