"""Draws the README's picture: a real demo, 20 seconds of it, in which one instance is killed as the demo suggests."""

import os
import re
import signal
import subprocess
import sys
import time

RUNS_S = 20
KILL_AFTER_S = 8


def main(target: str) -> int:
    """Run the demo, kill the instance that it names, and let it draw its view at the end."""
    command = [sys.executable, "-m", "agent", "demo", "--for", f"{RUNS_S}s", "--rate", "60", "--svg", target]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    for line in demo.stdout:
        print(line, end="")
        if named := re.search(r"kill -9 (\d+)", line):
            time.sleep(KILL_AFTER_S)
            os.kill(int(named.group(1)), signal.SIGKILL)
    return demo.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
