"""What is running: the version, and whether the data path's modules are compiled here or run as they are written."""

import platform

from agent import __version__
from agent.runtime import wheel


def build() -> str:
    """``compiled`` where mypyc built the hot modules at installation, ``interpreted`` otherwise."""
    return "interpreted" if wheel.__file__.endswith(".py") else "compiled"


def describe() -> str:
    """One line for people: version, build, Python."""
    return f"pilotfish {__version__} ({build()}, Python {platform.python_version()})"
