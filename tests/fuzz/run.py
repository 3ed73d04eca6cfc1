"""Fuzzes one target with atheris: ``python -m tests.fuzz.run TARGET [libFuzzer options]``.

The kept corpus is the seed; what is found new is written to the first directory given, or nowhere. A case worth keeping goes to
``tests/fuzz/corpus/TARGET/`` under a name that says what it is.
"""

import sys
from pathlib import Path

import atheris

CORPUS = Path(__file__).parent / "corpus"


def main(arguments: list[str]) -> None:
    with atheris.instrument_imports(include=["agent.core.http", "agent.core.swim", "agent.proxy"]):
        from tests.fuzz.targets import TARGETS
    if len(arguments) < 2 or arguments[1] not in TARGETS:
        raise SystemExit(f"usage: python -m tests.fuzz.run {{{','.join(TARGETS)}}} [libFuzzer options]")
    name = arguments[1]
    atheris.Setup([arguments[0], *arguments[2:], str(CORPUS / name)], TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv)
