"""A transcript's file: blocks with blank lines between, each of commands, `----`, and what was said to them. `#` begins a comment."""

from typing import Protocol


class Rig(Protocol):
    """Does a command at a time; what it said since `said` was emptied, in lines."""

    said: list[str]

    def do(self, line: str) -> None:
        """Carry out one command."""


def replayed(rig: Rig, text: str) -> str:
    """The file as the core makes it now."""
    blocks = []
    for block in text.strip("\n").split("\n\n"):
        commands = block.split("\n----", 1)[0].split("\n")
        if all(line.startswith("#") or not line for line in commands):
            blocks.append(block)
            continue
        rig.said = []
        for line in commands:
            if line and not line.startswith("#"):
                rig.do(line)
        blocks.append("\n".join([*commands, "----", *rig.said]))
    return "\n\n".join(blocks) + "\n"
