"""One PBFT replica and a dialogue with it, as text. Requests are written origin/number; a batch is the requests it holds.

A file is blocks with blank lines between: commands, `----`, and what the replica did. `#` begins a comment. The commands:

    pbft ME of N [key=value ...]        replica ME of voters 1 to N, at the beginning, in view 0 (member 1 is its primary)
    TIME FROM: MESSAGE [by WHO] [forged]   a message that comes from this member; signed by WHO (else by FROM); or by nobody
    TIME run | propose a b | read N     before anything with a TIME, the wake-ups that are due are made
    disk by hand | stored               writes are durable only when `stored` says so (before: at once)
    crash                               start again from what is durable
    state | blame | slots               what is known

MESSAGE: request o/n | preprepare V N o/n ... | prepare V N o/n ... | commit V N o/n ... | checkpoint N I [another] | status V N S
         viewchange V [stable N I] [cert V N o/n,o/n ...] | newview V from 1 3 4 [cert WHO V N o/n,o/n] : N o/n,o/n | N null ...
"""

from pathlib import Path

from msgspec.structs import replace

from agent.core.pbft import messages as m
from agent.core.pbft.state import genesis, render
from agent.core.replica import io
from tests.transcripts.dialogue import replayed
from tests.unit.pbft.rig import CONFIG, Rig, pre_prepare, prepared, request, signed

FOLDER = Path(__file__).with_name("pbft")
INTS = {"checkpoint_interval", "window", "max_inflight"}


def requests(words: list[str]) -> tuple[m.Request, ...]:
    pairs = [word.split("/") for word in words]
    return tuple(request(int(origin), int(number)) for origin, number in pairs)


class Dialogue:
    def __init__(self) -> None:
        self.rig: Rig
        self.said: list[str] = []
        self.names: dict[bytes, str] = {m.NULL: "null"}
        self.voters = 4
        self.tickets = 0

    # -- commands

    def do(self, line: str) -> None:
        words = line.split("#", 1)[0].split()
        if words[0] == "pbft":
            pairs = (word.split("=") for word in words[4:])
            config = replace(CONFIG, **{key: int(value) if key in INTS else float(value) for key, value in pairs})
            self.voters = int(words[3])
            self.rig = Rig(int(words[1]), self.voters, config)
        elif words[0] == "disk":
            self.rig.slow = True
        elif words[0] == "stored":
            self.tell(self.rig.sync())
        elif words[0] == "crash":
            self.tell(self.rig.crash())
        elif words[0] in ("state", "blame", "slots"):
            getattr(self, words[0])()
        else:
            self.act(float(words[0]), words[1:])

    def act(self, when: float, words: list[str]) -> None:
        self.tell(self.rig.wait(when - self.rig.now))
        if words[0] == "propose":
            self.tickets += 1
            items = tuple((self.tickets * 10 + i, word.encode()) for i, word in enumerate(words[1:], 1))
            self.tell(self.rig.step(io.Propose(items)))
        elif words[0] == "read":
            self.tell(self.rig.step(io.Read(int(words[1]))))
        elif words[0] != "run":
            sender = int(words[0].rstrip(":"))
            forged = words[-1] == "forged"
            words = words[1:-1] if forged else words[1:]
            by = int(words[-1]) if words[-2] == "by" else sender
            words = words[:-2] if words[-2] == "by" else words
            message = self.message(by, words)
            if forged:
                message = replace(message, sig=b"forged") if hasattr(message, "sig") else self.forge(message)
            self.tell(self.rig.hear(sender, message))

    @staticmethod
    def forge(message: m.PrePrepare) -> m.PrePrepare:
        return replace(message, proposal=replace(message.proposal, sig=b"forged"))

    # -- messages from words

    def batch(self, view: int, seq: int, words: list[str], by: int = 0) -> m.PrePrepare:
        made = pre_prepare(view, seq, *requests(words), by=by, voters=self.voters)
        self.names[made.proposal.digest] = ",".join(words)
        return made

    def message(self, by: int, words: list[str]) -> m.Message:
        kind, rest = words[0], words[1:]
        if kind == "request":
            return requests(rest)[0]
        if kind == "preprepare":
            return self.batch(int(rest[0]), int(rest[1]), rest[2:], by)
        if kind in ("prepare", "commit"):
            p = self.batch(int(rest[0]), int(rest[1]), rest[2:]).proposal
            if kind == "prepare":
                return signed(by, m.Prepare(p.view, p.seq, p.digest, by, p.sig))
            return signed(by, m.Commit(p.view, p.seq, p.digest, by))
        if kind == "checkpoint":
            return self.checkpoint(by, int(rest[0]), int(rest[1]), "another" in rest)
        if kind == "status":
            return m.Status(int(rest[0]), True, int(rest[1]), int(rest[2]))
        if kind == "viewchange":
            return self.view_change(by, int(rest[0]), rest[1:])
        if kind == "newview":
            return self.new_view(by, rest)
        raise ValueError(f"no message: {kind}")

    def checkpoint(self, by: int, seq: int, index: int, another: bool) -> m.Checkpoint:
        """What a replica says that has executed batches of the requests 3/1, 3/2, ... one each."""
        state = genesis(b"test", 0, 0)
        for number in range(1, seq + 1):
            _, state, _ = render(state, number, m.Batch(0, requests([f"3/{number}"])))
        assert state.index == index
        made = m.Checkpoint(*state.body(), by)
        return signed(by, replace(made, chain=bytes(32)) if another else made)

    def view_change(self, by: int, view: int, words: list[str]) -> m.ViewChange:
        stable, proof = 0, ()
        if words[:1] == ["stable"]:
            stable = int(words[1])
            proof = tuple(self.checkpoint(who, stable, int(words[2]), False) for who in (1, 3, 4))
            words = words[3:]
        certs = []
        while words:
            backups = [who for who in range(1, self.voters + 1) if who != 1 + int(words[1]) % self.voters][: self.rig.core.desk.quorum - 1]
            certs.append(prepared(self.batch(int(words[1]), int(words[2]), words[3].split(",")), *backups))
            words = words[4:]
        return signed(by, m.ViewChange(view, stable, proof, tuple(certs), by))

    def new_view(self, by: int, words: list[str]) -> m.NewView:
        view, head, tail = int(words[0]), words[2 : words.index(":")], words[words.index(":") + 1 :]
        at = head.index("cert") if "cert" in head else len(head)
        certs = {int(head[at + 1]): ["cert", *head[at + 2 :]]} if at < len(head) else {}
        changes = tuple(self.view_change(int(who), view, certs.get(int(who), [])) for who in head[:at])
        proposals = []
        for seq, what in zip(tail[::3], tail[1::3], strict=True):
            digest = m.NULL if what == "null" else self.batch(0, int(seq), what.split(",")).proposal.digest
            proposals.append(signed(by, m.Proposal(view, int(seq), digest)))
        return signed(by, m.NewView(view, changes, tuple(proposals)))

    # -- what it did

    def name(self, digest: bytes) -> str:
        return self.names.get(digest, "?")

    def tell(self, effects: tuple[io.Effect, ...]) -> None:
        seen: list[tuple[object, list[int]]] = []
        for effect in effects:
            if isinstance(effect, io.Send):
                same = next((to for message, to in seen if message == effect.message), None)
                if same is not None:
                    same.append(effect.to)
                    continue
                to = [effect.to]
                seen.append((effect.message, to))
                line = self.describe(effect.message)
                if line:
                    self.said.append(f"{self.rig.now:g} -> \0{len(seen) - 1}\0: {line}")
            else:
                line = self.describe_other(effect)
                if line:
                    self.said.append(f"{self.rig.now:g} {line}")
        for at, (_, to) in enumerate(seen):
            self.said = [line.replace(f"\0{at}\0", " ".join(map(str, sorted(set(to))))) for line in self.said]

    def describe(self, x: object) -> str:
        match x:
            case m.Request():
                self.names.setdefault(b"", "")
                return f"request {x.origin} {b' '.join(x.items).decode()}"
            case m.PrePrepare():
                self.names.setdefault(x.proposal.digest, ",".join(f"{one.origin}:{one.items[0].decode()}" for one in x.batch.requests))
                return f"preprepare {x.proposal.view} {x.proposal.seq} {self.name(x.proposal.digest)}"
            case m.Prepare() | m.Commit():
                return f"{type(x).__name__.lower()} {x.view} {x.seq} {self.name(x.digest)}"
            case m.Checkpoint():
                return f"checkpoint {x.seq} {x.index}"
            case m.ViewChange():
                certs = " ".join(f"cert {one.view} {one.seq} {self.name(one.digest)}" for one in x.prepared)
                return f"viewchange {x.view} stable {x.stable} {certs}".rstrip()
            case m.NewView():
                offers = " | ".join(f"{one.seq} {self.name(one.digest)}" for one in x.proposals)
                return f"newview {x.view} from {' '.join(str(one.sender) for one in x.changes)} : {offers}".rstrip()
            case m.FetchBatch():
                return f"fetch {x.seq} {self.name(x.digest)}"
            case m.FetchEntries():
                return f"fetch entries from {x.index} to checkpoint {x.seq}"
            case m.StableProof():
                return f"stable {x.proof[0].seq} by {' '.join(str(one.sender) for one in x.proof)}"
            case m.Decision():
                return f"decision {x.view} {x.seq} {self.name(x.digest)}"
            case m.ReadAsk():
                return "read?"
            case _:
                return ""

    def describe_other(self, x: io.Effect) -> str:
        match x:
            case io.Deliver():
                return "deliver " + " ".join(f"{one.index}={one.data.decode()}" for one in x.entries)
            case io.Changed():
                return f"{x.role} in view {x.term}: {x.why}"
            case io.Proposed():
                return f"ticket {x.ticket} at {x.index}"
            case io.Refused():
                return f"ticket {x.ticket} refused: {x.reason}"
            case io.ReadReady():
                return f"read {x.ticket} at {x.index}"
            case io.Persist() if self.rig.slow:
                return f"write {' '.join(str(one.index) for one in x.entries) or '-'}"
            case _:
                return ""

    def state(self) -> None:
        board = self.rig.core.board
        view = f"view {board.view}{'' if board.active else ' (to come)'}"
        low, high = board.slots.low, board.slots.low + board.config.window
        self.said.append(f"{view} executed {board.executed.seq} stable {board.stable.seq} h {low} H {high}")

    def slots(self) -> None:
        for slot in self.rig.core.board.slots.in_order():
            cert = f" prepared in {slot.cert.view}" if slot.cert else ""
            decided = " committed" if slot.decided else ""
            self.said.append(f"{slot.seq} {self.name(slot.proposal.digest) if slot.proposal else '-'}{cert}{decided}")

    def blame(self) -> None:
        counts = sorted(self.rig.core.suspicions.counts.items())
        self.said += [f"{who} {kind} {count}" for (who, kind), count in counts] or ["nobody"]


def replay(text: str) -> str:
    """The file as the core makes it now."""
    return replayed(Dialogue(), text)
