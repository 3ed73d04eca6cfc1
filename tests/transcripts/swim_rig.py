"""One membership core and a dialogue with it, as text.

A file is blocks with blank lines between: commands, `----`, and what the core did. `#` begins a comment. The commands:

    swim a peers b c d [plain] [lifeguard] [key=value ...]   a member a that knows these; a setting each key
    TIME MESSAGE [from WHO]        a packet from that member; before it, all wake-ups that are due are made
    TIME request MESSAGE from WHO  the same on a stream
    TIME answer sN MESSAGE         the answer on a stream that the core opened; or: TIME fail sN
    TIME run                       only let time pass
    TIME join WHO | leave | meta TEXT | broadcast TEXT [key] | send WHO TEXT | health LEVEL
    TIME stall                     let time pass without a wake-up: the process is stopped; TIME wake: one, late
    members | health | wake        what is known

MESSAGE: ping N who [by whom] | iping N who [nack] | ack N | nack N | suspect who INC by whom | dead who INC by whom
         alive who INC [meta=TEXT] [at=address] [versions=a,b,c,d,e,f] | user TEXT | state who:INC:STATE ...
N is a number, or #1, #2 ... for the numbers that the core chose, in the order in which they were first seen.
"""

from pathlib import Path
from random import Random

from msgspec.structs import replace

from agent.core.swim import io
from agent.core.swim import messages as m
from agent.core.swim.config import LAN, lifeguard, plain
from agent.core.swim.core import Swim
from tests.transcripts.dialogue import replayed

FOLDER = Path(__file__).with_name("swim")


def address(name: str) -> bytes:
    return bytes((10, 0, 0, ord(name[0])))


def place(name: str) -> m.Place:
    return ".".join(map(str, address(name))), 7946


def who(place: m.Place) -> str:
    return chr(int(place[0].rsplit(".", 1)[1]))


def node(name: str, incarnation: int = 1, state: int = m.ALIVE) -> m.NodeState:
    return m.NodeState(name, address(name), 7946, incarnation, state)


class Rig:
    def __init__(self) -> None:
        self.core: Swim | None = None
        self.now = 0.0
        self.said: list[str] = []
        self.numbers: list[int] = []

    # -- commands

    def do(self, line: str) -> None:
        words = line.split("#!", 1)[0].split()
        if words[0] == "swim":
            self.begin(words[1], words[2:])
        elif words[0] == "members":
            self.said += [f"{one.name} {m.STATE_NAMES[one.state]} {one.incarnation}" for one in self.core.members()]
        elif words[0] == "health":
            self.said.append(f"health {self.core.health}")
        elif words[0] == "wake":
            self.said.append(f"next wake {self.core.next_wake():.3f}")
        else:
            self.act(float(words[0]), words[1:])

    def begin(self, name: str, words: list[str]) -> None:
        # Times that are easy to follow, whatever the preset says.
        config = replace(LAN, probe_interval_s=0.4, probe_timeout_s=0.2, suspicion_mult=4.0)
        peers = []
        for word in words:
            if word == "plain":
                config = plain(config)
            elif word == "lifeguard":
                config = lifeguard(config)
            elif "=" in word:
                key, value = word.split("=")
                config = replace(config, **{key: type(getattr(config, key))(float(value))})
            elif word != "peers":
                peers.append(word)
        self.core = Swim(config, node(name), Random(1).random, 0.0)
        self.core.load([node(peer) for peer in peers])
        self.now = 0.0
        self.numbers = []

    def act(self, when: float, words: list[str]) -> None:
        core = self.core
        if words[0] not in ("stall", "wake"):
            while core.next_wake() <= when and core.next_wake() >= self.now:
                self.now = core.next_wake()
                self.feed(io.Wake())
        self.now = when
        verb, rest = words[0], words[1:]
        if verb == "join":
            self.feed(io.Join(tuple(place(name) for name in rest)))
        elif verb == "leave":
            self.feed(io.Leave())
        elif verb == "meta":
            self.feed(io.UpdateMeta(rest[0].encode()))
        elif verb == "broadcast":
            self.feed(io.Broadcast(rest[0].encode(), rest[1] if len(rest) > 1 else ""))
        elif verb == "send":
            self.feed(io.SendUser(rest[0], rest[1].encode()))
        elif verb == "health":
            core.note_local_health(int(rest[0]))
        elif verb == "wake":
            self.feed(io.Wake())
        elif verb == "request":
            source, said = self.source(rest)
            self.feed(io.StreamRequest(99, source, self.message(said)))
        elif verb == "answer":
            self.feed(io.StreamAnswer(int(rest[0][1:]), self.message(rest[1:])))
        elif verb == "fail":
            self.feed(io.StreamFailed(int(rest[0][1:]), "refused"))
        elif verb not in ("run", "stall"):
            source, said = self.source(words)
            self.feed(io.PacketIn(source, self.message(said)))

    @staticmethod
    def source(words: list[str]) -> tuple[m.Place, list[str]]:
        """Who sent it, and what; it does not matter who, for the most part."""
        return (place(words[-1]), words[:-2]) if words[-2] == "from" else (place("b"), words)

    def feed(self, event: io.Input) -> None:
        for effect in self.core.step(self.now, event):
            self.said.append(f"{self.now:.3f} {self.describe(effect)}")

    # -- messages from words

    def message(self, words: list[str]) -> m.Message:
        kind, rest = words[0], words[1:]
        if kind == "ping":
            return m.Ping(self.number(rest[0]), rest[1], source_node=rest[3] if rest[2:3] == ["by"] else "")
        if kind == "iping":
            return m.IndirectPing(self.number(rest[0]), address(rest[1]), 7946, rest[1], rest[-1] == "nack")
        if kind == "ack":
            return m.Ack(self.number(rest[0]))
        if kind == "nack":
            return m.Nack(self.number(rest[0]))
        if kind == "suspect":
            return m.Suspect(int(rest[1]), rest[0], rest[3])
        if kind == "dead":
            return m.Dead(int(rest[1]), rest[0], rest[3])
        if kind == "alive":
            more = dict(word.split("=") for word in rest[2:])
            at = address(more.get("at", rest[0]))
            versions = tuple(int(word) for word in more["versions"].split(",")) if "versions" in more else m.VERSIONS
            return m.Alive(int(rest[1]), rest[0], at, 7946, more.get("meta", "").encode(), versions)  # type: ignore[arg-type]
        if kind == "user":
            return m.User(rest[0].encode())
        assert kind == "state", kind
        parts = [word.split(":") for word in rest]
        return m.PushPull(tuple(node(name, int(number), m.STATE_NAMES.index(state)) for name, number, state in parts))

    def number(self, word: str) -> int:
        return self.numbers[int(word[1:]) - 1] if word[0] == "#" else int(word)

    # -- effects to words

    def describe(self, effect: io.Effect) -> str:
        if isinstance(effect, io.SendPacket):
            return f"-> {who(effect.to)}: " + " + ".join(self.words(message) for message in effect.messages)
        if isinstance(effect, io.MemberEvent):
            one = effect.member
            meta = f" meta={one.meta.decode()}" if one.meta else ""
            detail = f" ({effect.detail})" if effect.detail else ""
            return f"event {effect.kind} {one.name} {one.incarnation}{meta}{detail}"
        if isinstance(effect, io.OpenStream):
            return f"open s{effect.stream} {who(effect.to)}: {self.words(effect.message)} within {effect.timeout_s:.1f} s"
        if isinstance(effect, io.StreamReply):
            return f"reply: {self.words(effect.message) if effect.message is not None else 'nothing'}"
        if isinstance(effect, io.Deliver):
            return f"deliver {effect.payload.decode()} from {who(effect.source)}"
        if isinstance(effect, io.JoinEnded):
            return f"join {who(effect.place)} {effect.reason or 'done'}"
        return f"merge {effect.payload!r}"

    def words(self, message: m.Message) -> str:
        if isinstance(message, m.Ping):
            return f"ping {self.named(message.seq)} {message.node}"
        if isinstance(message, m.IndirectPing):
            return f"iping {self.named(message.seq)} {message.node}{' nack' if message.nack else ''}"
        if isinstance(message, m.Ack | m.Nack):
            return f"{type(message).__name__.lower()} {self.named(message.seq)}"
        if isinstance(message, m.Suspect | m.Dead):
            return f"{type(message).__name__.lower()} {message.node} {message.incarnation} by {message.source}"
        if isinstance(message, m.Alive):
            meta = f" meta={message.meta.decode()}" if message.meta else ""
            return f"alive {message.node} {message.incarnation}{meta}"
        if isinstance(message, m.User):
            return f"user {message.payload.decode()}"
        if isinstance(message, m.PushPull):
            states = [f"{one.name}:{one.incarnation}:{m.STATE_NAMES[one.state]}" for one in message.nodes]
            return ("join " if message.join else "") + "state " + " ".join(states)
        return f"error {message.text}"

    def named(self, number: int) -> str:
        # Small numbers are the file's own.
        if number < 1000:
            return str(number)
        if number not in self.numbers:
            self.numbers.append(number)
        return f"#{self.numbers.index(number) + 1}"


def replay(text: str) -> str:
    """The file as the core makes it now."""
    return replayed(Rig(), text)
