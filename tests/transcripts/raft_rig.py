"""One Raft replica and a dialogue with it, as text. Entries are written term/index, as etcd does.

A file is blocks with blank lines between: commands, `----`, and what the replica did. `#` begins a comment. The commands:

    raft ME voters 1 2 3 [learners 4] [log 2 2 3] [term T] [vote V] [commit C] [priority 1=5 ...] [key=value ...]
                                  a replica whose log begins behind a snapshot at 1/1 and has entries of these terms from index 2 on
    TIME FROM: MESSAGE            a message from that member; before anything with a TIME, the wake-ups that are due are made
    TIME run                      only let time pass
    TIME lead                     pass time until it stands, let every voter vote for it: it leads (nothing of that is shown)
    TIME propose a b | read N [lease] | change voters 1 2 [learners 3] | transfer [N] | unreachable N
    TIME disk full | disk well | disk slow S | stored [N] | snapshot I [size] | chunk TO OFFSET SIZE | installed I
    disk by hand                  writes are durable only when `stored` says so (before: at once, at the end of the step)
    crash                         start again from what is durable
    state | log | progress | wake what is known

         fast KEY=text ...             commands for the fast path, each with one key

MESSAGE: prevote T t/i | vote T t/i [transfer] | voted T yes | prevoted T no | append T prev t/i commit C [t/i[=text] ...]
         ack T I | reject T I hint t/i | heartbeat T commit C round R | beat T round R [slow S] [full] | chunk T of I at OFFSET SIZE [last]
         record T N:KEY=text ... | recorded T config C N:yes[@I] ... | voted T yes holds text ...
         chunked T of I at OFFSET | ask T N [lease] | answer T N I | timeoutnow T | gone T I
"""

from pathlib import Path

import msgspec

from agent.core.raft import messages as m
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.fast.keys import keys_of
from agent.core.raft.progress import NAMES
from agent.core.replica import io
from agent.core.replica.log import COMMAND, MEMBERS, NOOP, Entry, HardState, Members, Peer, Recovered, SnapshotMeta
from tests.transcripts.dialogue import replayed

FOLDER = Path(__file__).with_name("raft")
LISTS = ("voters", "learners", "log", "priority")
KIND_NAMES = {NOOP: "noop", MEMBERS: "members"}


def pair(word: str) -> tuple[int, int]:
    """term/index"""
    term, index = word.split("/")
    return int(term), int(index)


def after(words: list[str], key: str, default: str = "0") -> str:
    return words[words.index(key) + 1] if key in words else default


def sections(words: list[str]) -> dict[str, list[str]]:
    """``voters 1 2 learners 3`` by their heads."""
    found: dict[str, list[str]] = {}
    head = ""
    for word in words:
        if word in (*LISTS, "term", "vote", "commit"):
            head = word
            found[head] = []
        elif head:
            found[head].append(word)
    return found


class Even:
    """No spread: whoever stands does so after `election_s` to the moment, and read numbers begin with 1."""

    def random(self) -> float:
        return 0.0


class Rig:
    def __init__(self) -> None:
        self.core: Raft
        self.now = 0.0
        self.said: list[str] = []
        self.by_hand = False
        self.durable = Recovered()
        self.writes: list[io.Persist] = []
        self.sent: dict[int, float] = {}
        self.names: dict[int, str] = {}
        self.config = RaftConfig()
        self.quiet = False
        self.ticket = 0

    # -- commands

    def do(self, line: str) -> None:
        words = line.split(" #", 1)[0].split()
        if words[0] == "raft":
            self.begin(int(words[1]), words[2:])
        elif words == ["disk", "by", "hand"]:
            self.by_hand = True
        elif words == ["crash"]:
            self.crash()
        elif words[0] in ("state", "log", "progress", "wake"):
            self.show(words[0])
        else:
            self.act(float(words[0]), words[1:])

    def begin(self, me: int, words: list[str]) -> None:
        settings = {}
        for word in [word for word in words if "=" in word and not word[0].isdigit()]:
            key, value = word.split("=")
            settings[key] = type(getattr(RaftConfig(), key))(float(value))
        self.config = RaftConfig(**{"commit_notice_s": 0.0, "election_s": 1.0, **settings})
        given = sections([word for word in words if "=" not in word or word[0].isdigit()])
        voters = tuple(int(word) for word in given.get("voters", []))
        learners = tuple(int(word) for word in given.get("learners", []))
        chosen = dict(word.split("=") for word in given.get("priority", []))
        peers = tuple(Peer(one, f"n{one}", priority=int(chosen.get(str(one), 1))) for one in sorted((*voters, *learners)))
        members = Members(voters=voters, learners=learners, peers=peers)
        first = SnapshotMeta(index=1, term=1, members=members) if voters else SnapshotMeta()
        entries = tuple(Entry(int(term), place + 2, COMMAND, b"") for place, term in enumerate(given.get("log", [])))
        term = int(given.get("term", [entries[-1].term if entries else first.term])[0])
        hard = HardState(term, int(given.get("vote", ["0"])[0]), int(given.get("commit", [first.index])[0]))
        self.durable = Recovered(hard, first, entries)
        self.now, self.by_hand, self.ticket = 0.0, False, 0
        self.writes = []
        self.start(me)

    def start(self, me: int) -> None:
        self.core = Raft(me, self.config, Even(), self.durable, self.now)

    def crash(self) -> None:
        self.writes = []
        self.start(self.core.me)

    def act(self, when: float, words: list[str]) -> None:
        if words == ["lead"]:
            self.lead(when)
            return
        while self.core.next_wake() <= when:
            self.now = max(self.now, self.core.next_wake())
            self.feed(io.Wake())
        self.now = when
        if words[0].endswith(":"):
            self.feed(io.Receive(int(words[0][:-1]), self.message(words[1:])))
        elif words[0] != "run":
            self.feed(self.input(words[0], words[1:]))

    def lead(self, when: float) -> None:
        self.quiet, hand, self.by_hand = True, self.by_hand, False
        while self.core.role != "candidate":
            self.now = max(self.now, self.core.next_wake())
            self.feed(io.Wake())
        voters = [one for one in self.core.members.voters if one != self.core.me]
        for one in voters:
            if self.core.role == "candidate":
                self.feed(io.Receive(one, m.VoteReply(self.core.term + 1, True, True)))
        for one in voters:
            if self.core.role == "candidate":
                self.feed(io.Receive(one, m.VoteReply(self.core.term, True)))
        assert self.core.role == "leader", self.core.role
        self.quiet, self.by_hand = False, hand
        assert self.now <= when
        self.act(when, ["run"])

    def input(self, verb: str, words: list[str]) -> io.Input:
        if verb == "propose":
            items = []
            for word in words:
                self.ticket += 1
                items.append((self.ticket, word.encode()))
            return io.Propose(tuple(items))
        if verb == "fast":
            items3 = []
            for word in words:
                self.ticket += 1
                items3.append((self.ticket, word.encode(), keys_of([word.partition("=")[0].encode()])))
            return io.FastPropose(tuple(items3))
        if verb == "read":
            return io.Read(int(words[0]), "lease" in words)
        if verb == "change":
            given = sections(words)
            voters = tuple(int(word) for word in given.get("voters", []))
            learners = tuple(int(word) for word in given.get("learners", []))
            return io.Change(99, Members(voters=voters, learners=learners, peers=self.named(voters + learners)))
        if verb == "transfer":
            return io.Transfer(98, int(words[0]) if words else 0)
        if verb == "unreachable":
            return io.Unreachable(int(words[0]))
        if verb == "disk":
            slow = float(words[1]) if words[0] == "slow" else 0.0
            return io.Storage(words[0] != "full", slow)
        if verb == "stored":
            return io.Stored(int(words[0]) if words else self.writes[-1].number)
        if verb == "snapshot":
            index = int(words[0])
            return io.SnapshotTaken(self.meta(index, int(words[1]) if words[1:] else 0))
        if verb == "chunk":
            meta = self.core.progress[int(words[0])].meta
            return io.Chunk(int(words[0]), meta, int(words[1]), None if words[2] == "gone" else bytes(int(words[2])))
        assert verb == "installed", verb
        return io.SnapshotStored(self.incoming, "not" not in words)

    def named(self, ids: tuple[int, ...]) -> tuple[Peer, ...]:
        known = {peer.id: peer for peer in self.core.members.peers}
        return tuple(known.get(one, Peer(one, f"n{one}")) for one in sorted(ids))

    def meta(self, index: int, size: int) -> SnapshotMeta:
        return SnapshotMeta(index=index, term=self.core.log.term(index), members=self.core.members, size=size)

    def feed(self, event: io.Input) -> None:
        if isinstance(event, io.Stored):
            self.make_durable(event.number)
        effects = self.core.step(self.now, event)
        for effect in effects:
            if not self.quiet:
                self.said.append(f"{self.now:.3f} {self.describe(effect)}")
            if isinstance(effect, io.Persist):
                self.writes.append(effect)
            elif isinstance(effect, io.StoreChunk):
                self.incoming = effect.meta
            elif isinstance(effect, io.Send) and isinstance(effect.message, m.Heartbeat):
                self.sent[effect.message.round] = effect.message.sent
        if self.writes and not self.by_hand:
            self.feed(io.Stored(self.writes[-1].number))

    def make_durable(self, number: int) -> None:
        for write in [one for one in self.writes if one.number <= number]:
            kept = self.durable.entries
            if write.entries:
                kept = tuple(one for one in kept if one.index < write.entries[0].index) + write.entries
            self.durable = Recovered(write.hard or self.durable.hard, self.durable.snapshot, kept)
        self.writes = [one for one in self.writes if one.number > number]

    # -- messages from words

    def message(self, words: list[str]) -> m.Message:
        kind, term = words[0], int(words[1])
        if kind in ("prevote", "vote"):
            last_term, last = pair(words[2])
            return m.VoteRequest(term, last, last_term, kind == "prevote", "transfer" in words)
        if kind in ("prevoted", "voted"):
            held = tuple(m.Held(keys_of([one.partition("=")[0].encode()]), one.encode()) for one in words[4:])
            return m.VoteReply(term, words[2] == "yes", kind == "prevoted", held)
        if kind == "append":
            prev_term, prev = pair(words[3])
            entries = []
            for word in words[6:]:
                place, _, text = word.partition("=")
                entry_term, index = pair(place)
                entries.append(Entry(entry_term, index, COMMAND, text.encode()))
            return m.Append(term, prev, prev_term, int(words[5]), tuple(entries))
        if kind == "ack":
            return m.AppendReply(term, int(words[2]))
        if kind == "reject":
            hint_term, hint = pair(words[4])
            return m.AppendReply(term, int(words[2]), False, hint, hint_term)
        if kind == "heartbeat":
            return m.Heartbeat(term, int(words[3]), int(words[5]), 0.0)
        if kind == "beat":
            number = int(words[3])
            return m.HeartbeatReply(term, number, self.sent.get(number, 0.0), float(after(words, "slow")), "full" not in words)
        return self.other_message(kind, term, words)

    def other_message(self, kind: str, term: int, words: list[str]) -> m.Message:
        if kind == "chunk":
            members = self.core.members if self.core.members.voters else Members(voters=(1, 2), peers=(Peer(1, "n1"), Peer(2, "n2")))
            last_term, index = pair(words[3])
            size = int(after(words, "total", "10"))
            meta = SnapshotMeta(index=index, term=last_term, members=members, size=size)
            return m.SnapshotChunk(term, meta, int(words[5]), bytes(int(words[6])), "last" in words)
        if kind == "chunked":
            return m.SnapshotReply(term, int(words[3]), int(words[5]))
        if kind == "ask":
            return m.ReadRequest(term, int(words[2]), "lease" in words)
        if kind == "answer":
            return m.ReadReply(term, int(words[2]), int(words[3]), "no" not in words)
        if kind == "record":
            records = []
            for word in words[2:]:
                number, _, command = word.partition(":")
                records.append(m.Record(int(number), keys_of([command.partition("=")[0].encode()]), command.encode()))
            return m.FastRecord(term, tuple(records))
        if kind == "recorded":
            answers = []
            for word in words[4:]:
                number, _, said = word.partition(":")
                answers.append(m.FastAnswer(int(number), said.startswith("yes"), int(said.partition("@")[2] or 0)))
            return m.FastReply(term, int(words[3]), tuple(answers))
        if kind == "timeoutnow":
            return m.TimeoutNow(term)
        assert kind == "gone", kind
        return m.Gone(term, int(words[2]))

    # -- effects to words

    def describe(self, effect: io.Effect) -> str:
        if isinstance(effect, io.Send):
            return f"-> {effect.to}: {self.words(effect.message)}"
        if isinstance(effect, io.Persist):
            hard = effect.hard
            entries = "".join(f" {self.entry(one)}" for one in effect.entries)
            lazily = "" if effect.sync else " (lazily)"
            return f"write {effect.number}: term {hard.term} vote {hard.vote} commit {hard.commit}{entries}{lazily}"
        if isinstance(effect, io.Deliver):
            return "deliver" + "".join(f" {self.entry(one)}" for one in effect.entries)
        if isinstance(effect, io.Proposed):
            return f"proposed #{effect.ticket} at {effect.term}/{effect.index}"
        if isinstance(effect, io.Refused):
            return f"refused #{effect.ticket}: {effect.reason}" + (f", ask {effect.leader}" if effect.leader else "")
        if isinstance(effect, io.FastDecided):
            return f"decided #{effect.ticket} at {effect.term}/{effect.index}"
        if isinstance(effect, io.FastUndecided):
            return f"undecided #{effect.ticket}"
        if isinstance(effect, io.ReadReady):
            return f"read #{effect.ticket} at {effect.index}"
        if isinstance(effect, io.ReadChunk):
            return f"read chunk for {effect.to}: snapshot {effect.meta.index} at {effect.offset} size {effect.size}"
        if isinstance(effect, io.StoreChunk):
            return f"store chunk: snapshot {effect.meta.index} at {effect.offset} size {len(effect.data)}{' last' if effect.last else ''}"
        if isinstance(effect, io.Compact):
            return f"compact up to {effect.index}"
        why = f" ({effect.why})" if effect.why else ""
        return f"{effect.role} term {effect.term} leader {effect.leader} {self.shown(effect.members)}{why}"

    @staticmethod
    def shown(members: Members) -> str:
        def ids(group: tuple[int, ...]) -> str:
            return ",".join(map(str, group)) or "-"

        text = "voters " + ids(members.voters)
        for name in ("outgoing", "learners", "learners_next", "target"):
            group = getattr(members, name)
            text += f" {name} {ids(group)}" if group else ""
        return text

    @staticmethod
    def entry(entry: Entry) -> str:
        text = f"{entry.term}/{entry.index}"
        if entry.kind == COMMAND:
            return text + (f"={entry.data.decode()}" if entry.data else "")
        if entry.kind == MEMBERS:
            return f"{text}=({Rig.shown(msgspec.msgpack.decode(entry.data, type=Members))})"
        return f"{text}={KIND_NAMES[entry.kind]}"

    def words(self, message: m.Message) -> str:
        term = message.term
        if isinstance(message, m.VoteRequest):
            name = "prevote" if message.pre else "vote"
            return f"{name} {term} {message.last_term}/{message.last_index}{' transfer' if message.transfer else ''}"
        if isinstance(message, m.VoteReply):
            holds = " holds " + " ".join(one.command.decode() for one in message.held) if message.held else ""
            return f"{'prevoted' if message.pre else 'voted'} {term} {'yes' if message.granted else 'no'}{holds}"
        if isinstance(message, m.Append):
            entries = "".join(f" {self.entry(one)}" for one in message.entries)
            return f"append {term} prev {message.prev_term}/{message.prev_index} commit {message.commit}{entries}"
        if isinstance(message, m.AppendReply):
            if message.ok:
                return f"ack {term} {message.index}"
            return f"reject {term} {message.index} hint {message.hint_term}/{message.hint_index}"
        if isinstance(message, m.Heartbeat):
            return f"heartbeat {term} commit {message.commit} round {message.round}"
        if isinstance(message, m.HeartbeatReply):
            slow = f" slow {message.disk_s}" if message.disk_s else ""
            return f"beat {term} round {message.round}{slow}{'' if message.writable else ' full'}"
        if isinstance(message, m.SnapshotChunk):
            last = " last" if message.last else ""
            return f"chunk {term} of {message.meta.term}/{message.meta.index} at {message.offset} {len(message.data)}{last}"
        if isinstance(message, m.SnapshotReply):
            return f"chunked {term} of {message.index} at {message.offset}"
        if isinstance(message, m.FastRecord):
            return f"record {term} " + " ".join(f"{one.number}:{one.command.decode()}" for one in message.records)
        if isinstance(message, m.FastReply):
            answers = [f"{one.number}:{'yes' if one.accepted else 'no'}{f'@{one.index}' if one.index else ''}" for one in message.answers]
            return f"recorded {term} config {message.config} " + " ".join(answers)
        if isinstance(message, m.ReadRequest):
            return f"ask {term} {message.number}{' lease' if message.lease else ''}"
        if isinstance(message, m.ReadReply):
            return f"answer {term} {message.number} {message.index}{'' if message.ok else ' no'}"
        return f"{type(message).__name__.lower()} {term}" + (f" {message.index}" if isinstance(message, m.Gone) else "")

    # -- what is known

    def show(self, what: str) -> None:
        core = self.core
        if what == "state":
            self.said.append(f"{core.role} term {core.term} leader {core.leader} commit {core.commit} {self.shown(core.members)}")
        elif what == "log":
            entries = " ".join(self.entry(one) for one in core.log.entries)
            self.said.append(
                f"log behind {core.log.offset_term}/{core.log.offset}: {entries or 'nothing'}; durable up to {core.log.stable}"
            )
        elif what == "wake":
            self.said.append(f"next wake {core.next_wake():.3f}")
        else:
            for member, one in sorted(core.progress.items()):
                flags = (" paused" if one.paused else "") + (f" inflight {len(one.inflight)}" if one.inflight else "")
                self.said.append(f"{member}: {NAMES[one.state]} match {one.match} next {one.next}{flags}")


def replay(text: str) -> str:
    """The file as the core makes it now."""
    return replayed(Rig(), text)
