"""What members say to each other, with hashicorp/memberlist's fields, so that a cluster of either can hold the other.

Addresses are bytes as memberlist has them (4 or 16 octets), ports are beside them. How these look on the wire is the codec's:
it also puts the mark before our own user data (`User`, `PushPull.user`) and takes it off, so that nobody else sees it.
"""

from typing import Final

from msgspec import Struct

Versions = tuple[int, int, int, int, int, int]
"""The protocol's least, most and current version, and the same of the delegate (the application above memberlist)."""

VERSIONS: Final[Versions] = (1, 5, 2, 2, 5, 5)
"""memberlist 0.5's, and Serf 0.9's as delegate: members whose ranges do not hold the others' current versions are not let in."""

Place = tuple[str, int]
"""Host (an address as text) and port."""

ALIVE: Final = 0
SUSPECT: Final = 1
DEAD: Final = 2
LEFT: Final = 3
STATE_NAMES: Final = ("alive", "suspect", "dead", "left")


class Ping(Struct, frozen=True, gc=False):
    """Are you there? `node` is who should answer: a process that took over an address must not answer for another."""

    seq: int
    node: str
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


class IndirectPing(Struct, frozen=True, gc=False):
    """Ask that member for me. `nack`: say so when it does not answer in time."""

    seq: int
    target: bytes
    port: int
    node: str
    nack: bool = False
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


class Ack(Struct, frozen=True, gc=False):
    """I am here."""

    seq: int
    payload: bytes = b""


class Nack(Struct, frozen=True, gc=False):
    """I am here, but the member that you asked about did not answer me."""

    seq: int


class Suspect(Struct, frozen=True, gc=False):
    """`source` believes that `node` is dead, as of its incarnation."""

    incarnation: int
    node: str
    source: str


class Alive(Struct, frozen=True, gc=False):
    """`node` is alive at this address, as of its incarnation."""

    incarnation: int
    node: str
    address: bytes
    port: int
    meta: bytes = b""
    versions: Versions = VERSIONS


class Dead(Struct, frozen=True, gc=False):
    """`source` knows that `node` is dead, as of its incarnation. `source == node`: it left."""

    incarnation: int
    node: str
    source: str


class NodeState(Struct, frozen=True, gc=False):
    """One member as its sender knows it."""

    name: str
    address: bytes
    port: int
    incarnation: int
    state: int
    meta: bytes = b""
    versions: Versions = VERSIONS


class PushPull(Struct, frozen=True):
    """All that the sender knows, over a stream. `join`: it wants to be let in. `user`: the application's part."""

    nodes: tuple[NodeState, ...]
    join: bool = False
    user: bytes = b""


class User(Struct, frozen=True, gc=False):
    """The application's own."""

    payload: bytes


class Foreign(Struct, frozen=True, gc=False):
    """A user message that is not ours but another program's, such as Serf's, as it stands. Hosts drop what comes of it."""

    payload: bytes


class Error(Struct, frozen=True, gc=False):
    """Why a stream's request was refused."""

    text: str


Message = Ping | IndirectPing | Ack | Nack | Suspect | Alive | Dead | PushPull | User | Foreign | Error
