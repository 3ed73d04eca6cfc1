"""Where a run was made."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any


def describe() -> dict[str, Any]:
    """Processor, cores, kernel, Python, client; and the load average, which should be low before a run."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "kernel": platform.release().split("-")[0],
        "python": platform.python_version(),
        "wrk": _wrk(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _wrk() -> str:
    if shutil.which("wrk") is None:
        return "absent"
    result = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False)
    return result.stdout.splitlines()[0].split("[")[0].strip()
