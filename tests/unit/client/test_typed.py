"""An application's type checker sees the SDK's types."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
from agent.client import AsyncSidecar, Sidecar

def wait(sidecar: Sidecar) -> bytes:
    item = sidecar.kv.get("a")
    reveal_type(item)
    for event in sidecar.kv.watch("a"):
        reveal_type(event)
    return item.value

async def go(sidecar: AsyncSidecar) -> None:
    async with sidecar.lock("a") as held:
        reveal_type(held.token)
    sidecar.kv.put("a", 7)
"""


def test_a_program_of_an_applications_is_checked(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, "-m", "mypy", "--config-file=", f"--cache-dir={tmp_path}/cache", "--strict", "program.py"]
    checked = subprocess.run(
        command, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    said = checked.stdout
    for expected in (
        'Revealed type is "agent.client.types.Item | None"',
        'Revealed type is "agent.client.types.Event"',
        'Revealed type is "int"',
        'Item "None" of "Item | None" has no attribute "value"',
        'Argument 2 to "put" of "Kv" has incompatible type "int"; expected "bytes | str"',
    ):
        assert expected in said, said + checked.stderr
    assert (ROOT / "agent" / "py.typed").is_file()
