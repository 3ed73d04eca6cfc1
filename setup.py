"""Compiles the hot modules with mypyc where a C compiler is present. The same sources run interpreted everywhere else.

`PILOTFISH_COMPILE` = ``auto`` (default), ``0`` (never) or ``1`` (a failure to compile fails the build).
"""

import os
import shutil
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
HOT = ["agent/core/http/*.py", "agent/core/cache/*.py", "agent/core/cache/eviction/*.py", "agent/core/routing/*.py"]
HOT_FILES = [
    "agent/runtime/wheel.py",
    "agent/core/swim/lzw.py",
    *(
        f"agent/proxy/{name}.py"
        for name in (
            [
                "sink",
                "story",
                "upstream",
                "pool",
                "forward",
                "datapath",
                "gate",
                "counters",
                "flags",
                "rescue",
                "attempt",
                "limits",
                "reply",
                "hit",
                "effects",
                "exchange",
                "serve",
                "release",
                "flight",
                "fill",
                "keeper",
                "lookup",
                "wire",
                "pipeline",
                "client",
                "aside",
            ]
        )
    ),
]
# Structures that msgspec builds need their interpreted annotations.
INTERPRETED = {"config.py", "__init__.py"}


class BuildOrGoWithout(build_ext):
    """A compiler that fails costs speed, never the installation."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            if os.environ.get("PILOTFISH_COMPILE") == "1":
                raise
            print(f"pilotfish: hot modules stay interpreted: {error}")
            self.extensions = []

    def copy_extensions_to_source(self) -> None:
        if self.extensions:
            super().copy_extensions_to_source()


def hot_extensions() -> list:
    choice = os.environ.get("PILOTFISH_COMPILE", "auto")
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if choice == "0" or (choice == "auto" and shutil.which(compiler) is None and shutil.which("cc") is None):
        return []
    names = [str(path.relative_to(ROOT)) for pattern in HOT for path in sorted(ROOT.glob(pattern)) if path.name not in INTERPRETED]
    try:
        from mypyc.build import mypycify

        return mypycify([*names, *HOT_FILES], opt_level="2", debug_level="0", verbose=False)
    except (Exception, SystemExit) as error:
        if choice == "1":
            raise
        print(f"pilotfish: hot modules stay interpreted: {error}")
        return []


setup(ext_modules=hot_extensions(), cmdclass={"build_ext": BuildOrGoWithout})
