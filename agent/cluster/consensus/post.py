"""Between a group's host and the peers' transport: ids to names, messages to frames, and back."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from agent.cluster.consensus import messages
from agent.cluster.consensus.host import Host
from agent.core.replica.io import Receive, Unreachable
from agent.core.replica.log import Members
from agent.runtime.peers.transport import PeerTransport
from agent.runtime.peers.wire import REPLICA, SERVICE, Frame

UNREACHABLE_S: Final = 0.1
"""A core is told no more often than this that a peer cannot be reached."""


class Post:
    """One group's. `encode` and `decode` are the core's own (`decode` raises ValueError)."""

    def __init__(self, group: str, transport: PeerTransport, encode: Callable[[Any], bytes], decode: Callable[[bytes], object]) -> None:
        self._group = group
        self._transport = transport
        self._encode = encode
        self._decode = decode
        self._loop = asyncio.get_running_loop()
        self.host: Host | None = None
        self.wire_group = ""
        """The group's name and id: members of two groups of one name never hear each other."""
        self.on_service: Callable[[str, messages.Message], None] = lambda name, message: None
        self.on_lost: Callable[[str], None] = lambda name: None
        self._names: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._last: tuple[object, bytes] | None = None
        self._told: dict[int, float] = {}
        self.undecodable = 0
        self.strangers = 0

    def attach(self, host: Host, group_id: int) -> None:
        """This is the member that frames are for."""
        self.host = host
        self.wire_group = f"{self._group}/{group_id:x}"
        host.send = self.send
        host.flush = self._transport.flush

    def detach(self) -> None:
        self.host = None

    def know(self, members: Members) -> None:
        """These belong to the group; who belonged to it before is still answered (it may not have heard)."""
        if len(self._names) > 4096:
            self._names.clear()
        self._names.update((peer.id, peer.name) for peer in members.peers)
        self._ids = {peer.name: peer.id for peer in members.peers}

    def meet(self, member: int, name: str) -> None:
        """This one is a member as its seat says, though our own list does not (yet)."""
        self._names.setdefault(member, name)

    def name_of(self, member: int) -> str:
        return self._names.get(member, "")

    # -- out

    def send(self, to: int, message: object) -> None:
        name = self._names.get(to)
        host = self.host
        if name is None or host is None:
            return
        last = self._last
        if last is not None and last[0] is message:
            payload = last[1]  # the same to several
        else:
            payload = self._encode(message)
            self._last = (message, payload)
        self._transport.send(name, Frame(self.wire_group, REPLICA, host.me, to, payload))

    def say(self, name: str, message: messages.Message) -> bool:
        """To the agent of that name."""
        me = self.host.me if self.host is not None else 0
        return self._transport.send(name, Frame(self._group, SERVICE, me, 0, messages.encode(message)))

    # -- in

    def on_frames(self, name: str, frames: list[Frame]) -> None:
        """A peer has sent these."""
        host = self.host
        for frame in frames:
            if frame.channel == REPLICA:
                if host is None or frame.group != self.wire_group or frame.to != host.me or self._names.get(frame.sender) != name:
                    self.strangers += 1
                    continue
                try:
                    message = self._decode(frame.payload)
                except ValueError:
                    self.undecodable += 1
                    continue
                host.feed(Receive(frame.sender, message))
            elif frame.channel == SERVICE and frame.group == self._group:
                try:
                    said = messages.decode(frame.payload)
                except messages.UNREADABLE:
                    self.undecodable += 1
                    continue
                self.on_service(name, said)

    def on_unreachable(self, name: str) -> None:
        """What was sent to that agent lately is lost."""
        self.on_lost(name)
        host, member = self.host, self._ids.get(name)
        if host is None or member is None or host.broken:
            return
        now = self._loop.time()
        if now - self._told.get(member, -1.0) >= UNREACHABLE_S:
            self._told[member] = now
            host.feed(Unreachable(member))
