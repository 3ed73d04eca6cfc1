"""The kinds of commands and the parts of the state that they work on. Whoever has state to replicate registers a `PartType`.

What is registered decides what the octets of the log mean, so it must be alike on all members of a group; a member that finds a kind
which it does not know must stop (`UnknownCommand`), as it cannot know what the others made of it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Union

import msgspec
from msgspec import Struct, defstruct

from agent.core.machine.commands import Count, Once
from agent.core.machine.envelope import UNREADABLE
from agent.core.machine.outcome import Outcome
from agent.core.machine.shared import Shared

Footprint = frozenset[bytes] | None


class UnknownCommand(Exception):
    """The log has a kind of command that this build does not know: it is of a newer version."""


class SnapshotError(Exception):
    """A snapshot that cannot be taken over; the state is as before."""


class Part:
    """A part of the state. `shared` is what all parts have in common."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    def freeze(self) -> Iterator[Any]:
        """Rows of the state as it is now, in an order and form that depend on the state alone. What later commands change must have been
        put aside or copied; the rows are taken little by little, between commands."""
        raise NotImplementedError

    def load(self, version: int, rows: Iterator[Any]) -> None:
        """Take over rows that `freeze` of this or an earlier `version` made; the part is new and empty. Raises SnapshotError or
        one of `envelope.UNREADABLE`."""
        raise NotImplementedError

    def lease_ended(self, lease: int, expired: bool) -> None:
        """Let go of what the lease held."""

    def roomy(self) -> bool:
        """Whether the bounds are so far away that commands under way cannot reach them: only then may they be executed out of order."""
        return True


def no_footprint(command: Any) -> Footprint:
    """Conflicts with everything: takes the ordered path always."""
    return None


def never(command: Any) -> bool:
    return False


class CommandType:
    """A kind of command. `structure`: its msgspec structure, tagged with its name (and `/version` beyond the first). `apply`: a method of
    the part, (part, command) -> Outcome; deterministic, all or nothing, raising nothing. `keys`: what the command reads or writes, None
    for everything. `commutes`: whether commands of this kind may change places with another of the kind on the same keys, both saying
    so, without anyone seeing a difference."""

    def __init__(
        self,
        structure: type[Struct],
        apply: Callable[[Any, Any], Outcome],
        keys: Callable[[Any], Footprint] = no_footprint,
        commutes: Callable[[Any], bool] = never,
    ) -> None:
        tag = structure.__struct_config__.tag
        if not isinstance(tag, str) or not structure.__struct_config__.array_like or not structure.__struct_config__.forbid_unknown_fields:
            raise ValueError(f"{structure.__name__}: a command is array_like, forbids unknown fields and has a text for a tag")
        self.tag: str = tag
        self.name, _, version = tag.partition("/")
        self.version = int(version or 1)
        self.structure = structure
        self.apply = apply
        self.keys = keys
        self.commutes = commutes


class PartType:
    """A part: `name` and `version` stand in snapshots; `make(shared)` makes an empty one."""

    def __init__(self, name: str, version: int, make: Callable[[Shared], Part], commands: Iterable[CommandType]) -> None:
        self.name = name
        self.version = version
        self.make = make
        self.commands = tuple(commands)


class Registry:
    """Parts in the order in which they were added, which is the order of everything that concerns all of them."""

    def __init__(self, parts: Iterable[PartType] = ()) -> None:
        self.parts: dict[str, PartType] = {}
        self.commands: dict[str, CommandType] = {}
        self.by_structure: dict[type, CommandType] = {}
        self._envelopes: Any = None
        self._commands: Any = None
        for part in parts:
            self.add(part)

    def add(self, part: PartType) -> None:
        """Raises ValueError where a name is taken."""
        tags = [command.tag for command in part.commands]
        taken = sorted(set(tags) & self.commands.keys()) or sorted(tag for tag in set(tags) if tags.count(tag) > 1)
        if part.name in self.parts or taken:
            raise ValueError(f"part {part.name}: {', '.join(taken) or 'its name'} is taken")
        self.parts[part.name] = part
        for command in part.commands:
            self.commands[command.tag] = command
            self.by_structure[command.structure] = command
        self._envelopes = self._commands = None

    @property
    def tags(self) -> tuple[str, ...]:
        """What this build knows, sorted: members compare them before one of them proposes something new."""
        return tuple(sorted(self.commands))

    def envelopes(self) -> Any:
        """A decoder of envelopes with the command in it: (time_ms, session, request, acked, command)."""
        if self._envelopes is None:
            fields: list[tuple[str, Any]] = [(name, Count) for name in ("time_ms", "session", "request", "acked")]
            fields.append(("command", self._union()))
            envelope = defstruct("Envelope", fields, frozen=True, array_like=True, gc=False, forbid_unknown_fields=True)
            self._envelopes = msgspec.msgpack.Decoder(envelope)
        return self._envelopes

    def decode(self, command: bytes) -> Any:
        """A command's structure. Raises one of `envelope.UNREADABLE` where it is none."""
        if self._commands is None:
            self._commands = msgspec.msgpack.Decoder(self._union())
        return self._commands.decode(command)

    def unknown(self, command: bytes) -> str:
        """The tag of what begins as a command and is of no registered kind; empty for everything else."""
        try:
            made = _anything.decode(command)
        except UNREADABLE:
            return ""
        if not isinstance(made, list) or not made or not isinstance(made[0], str) or made[0] in self.commands:
            return ""
        return made[0]

    def footprint(self, command: bytes) -> Footprint:
        """What the command touches, from its octets alone; None conflicts with everything (also what is no command)."""
        try:
            made = self.decode(command)
        except UNREADABLE:
            return None
        return self.footprint_of(made)

    def footprint_of(self, command: Any) -> Footprint:
        if isinstance(command, Once):
            return None
        return self.by_structure[type(command)].keys(command)

    def commutes(self, command: bytes) -> bool:
        """Whether it may change places with others of its kind on the same keys that say so too."""
        try:
            made = self.decode(command)
        except UNREADABLE:
            return False
        return self.by_structure[type(made)].commutes(made)

    def _union(self) -> Any:
        structures = tuple(self.by_structure)
        return Union[structures]  # noqa: UP007 - made at run time


_anything: Final = msgspec.msgpack.Decoder()
