"""The agent in both builds, from the sources of this checkout: interpreted as written, and with the hot modules compiled.

Each is a copy in a folder named by the hash of the sources, so that a change is never measured in its old form, and the
checkout itself stays free of compiled files.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("agent", "plugins", "setup.py", "pyproject.toml")


def sources_hash() -> str:
    """Of every source file that a build is made of."""
    digest = hashlib.sha256(sys.version.encode())
    for name in COPIED:
        top = ROOT / name
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def build(compiled: bool) -> Path:
    """The folder to start ``python -m agent`` in. RuntimeError where it cannot be built (no C compiler, no mypyc)."""
    kind = "compiled" if compiled else "interpreted"
    # A user's own folder: others must not be able to put a build there.
    top = Path(tempfile.gettempdir()) / f"pilotfish-loadtest-{os.getuid()}"
    top.mkdir(mode=0o700, exist_ok=True)
    folder = top / f"{kind}-{sources_hash()}"
    # Two runs may want the same build at once; the second waits for the first's.
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _fill(folder, compiled)
    return folder


def _fill(folder: Path, compiled: bool) -> None:
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
            elif source.exists():
                shutil.copy(source, folder / name)
        if compiled:
            # Only what mypyc reads: an older setuptools refuses the project table, which building in place does not need.
            project = folder / "pyproject.toml"
            text = project.read_text(encoding="utf-8")
            project.write_text(text[text.index("[tool.mypy]") :], encoding="utf-8")
            _compile(folder)
        (folder / "done").touch()


def _compile(folder: Path) -> None:
    print("building the compiled agent (about a minute, once for these sources)", file=sys.stderr)
    result = subprocess.run(
        [sys.executable, "setup.py", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "PILOTFISH_COMPILE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(f"the compiled build failed: {result.stderr[-600:]}")
    shutil.rmtree(folder / "build", ignore_errors=True)


def version(command: list[str], cwd: Path) -> str:
    """What ``pilotfish version`` says there: its build is in parentheses."""
    return subprocess.run([*command, "version"], cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()
