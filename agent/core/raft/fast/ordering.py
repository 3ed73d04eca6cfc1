"""The leader's part of the fast path: it gives commands their place in the log, and says whether they may be answered before that is
committed; and it replays what its predecessor may have answered."""

from collections.abc import Mapping

from agent.core.raft.desk import Desk
from agent.core.raft.fast.keys import Keys, Pending, witnessed
from agent.core.raft.messages import FastAnswer, FastRecord, FastReply, Held
from agent.core.replica.log import COMMAND, Entry

ORDERED_MAX = 8192


class Ordering:
    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._pending = Pending(0)
        self._ordered: dict[bytes, int] = {}
        """Places of commands that came this way in this term; the oldest are forgotten."""

    def begin(self, sets: Mapping[int, tuple[Held, ...]]) -> list[Entry]:
        """We are elected by the voters whose `sets` these are: entries for what they hold, behind the term's first entry."""
        desk = self._desk
        # What was inherited has unknown keys.
        self._pending = Pending(desk.log.last)
        self._ordered = {}
        replayed = self._to_replay(sets)
        entries = []
        index = desk.log.last + 1
        for held in replayed:
            index += 1
            entries.append(Entry(desk.term, index, COMMAND, held.command))
            self._pending.add(held.keys, index, desk.commit)
            self._ordered[held.command] = index
        desk.fast_index = index if replayed else 0
        return entries

    def _to_replay(self, sets: Mapping[int, tuple[Held, ...]]) -> list[Held]:
        """First those that may have been decided: enough of these voters hold them, in any of two majorities. They do not conflict with
        each other, so their order does not matter. Then the others, which nobody was told of: to have it over with."""
        members = self._desk.members
        known: dict[bytes, Held] = {}
        certain: set[bytes] = set()
        for group in (members.voters, members.outgoing):
            heard = [voter for voter in group if voter in sets]
            count: dict[bytes, int] = {}
            for voter in heard:
                for held in sets[voter]:
                    known[held.command] = held
                    count[held.command] = count.get(held.command, 0) + 1
            enough = witnessed(len(group), len(heard)) if group else 0
            certain.update([command for command, times in count.items() if times >= enough])
        if not known:
            return []
        for entry in self._desk.log.entries:
            # Committed or not, it stands before whatever comes now.
            known.pop(entry.data, None)
        return [known[command] for command in sorted(known, key=lambda one: (one not in certain, one))]

    def note_proposed(self, keys: tuple[Keys | None, ...], first: int) -> None:
        """Entries of the ordered path from `first` on: what touches the same must wait for them."""
        desk = self._desk
        if not keys:
            self._pending.barrier = desk.log.last
            return
        for place, one in enumerate(keys):
            self._pending.add(one, first + place, desk.commit)

    def on_record(self, message: FastRecord, open_to_new: bool) -> tuple[FastReply, bool]:
        """What to answer when it is durable; True: the log has grown. `open_to_new`: the leader takes proposals."""
        desk = self._desk
        log = desk.log
        settled = not desk.members.outgoing and log.members_index <= desk.commit and desk.me in desk.members.voters
        room = desk.config.max_uncommitted_bytes - log.bytes_after(desk.commit)
        entries: list[Entry] = []
        answers = []
        for record in message.records:
            command = record.command
            known = self._place_of(command, record.number >= RELAYED)
            if known:
                answers.append(FastAnswer(record.number, False, known))
                continue
            room -= len(command)
            if not open_to_new or room < 0 or len(command) > desk.config.max_command_bytes:
                answers.append(FastAnswer(record.number, False, 0))
                continue
            index = log.last + len(entries) + 1
            accepted = settled and not self._pending.conflicts(record.keys, desk.commit)
            accepted = accepted and record.number < RELAYED and desk.witness.accept(command, record.keys, desk.now)
            entries.append(Entry(desk.term, index, COMMAND, command))
            self._pending.add(record.keys, index, desk.commit)
            self._note(command, index)
            if accepted:
                # Whoever reads from now on must see it.
                desk.fast_index = index
            answers.append(FastAnswer(record.number, accepted, index))
        if entries:
            log.extend(entries)
        return FastReply(desk.term, log.members_index, tuple(answers)), bool(entries)

    def _note(self, command: bytes, index: int) -> None:
        self._ordered[command] = index
        if len(self._ordered) > ORDERED_MAX:
            del self._ordered[next(iter(self._ordered))]

    def _place_of(self, command: bytes, everywhere: bool) -> int:
        """Where it stands already; 0: nowhere that we know. `everywhere`: look through the whole log."""
        known = self._ordered.get(command, 0)
        if not known and everywhere:
            known = next((entry.index for entry in self._desk.log.entries if entry.data == command), 0)
        return known


RELAYED = 1 << 52
"""Numbers from here on: not a submission but a witness that has held the command for long, and wants to know that it is committed."""
