"""Strategies for every message that members exchange."""

from typing import Any

from hypothesis import strategies as st

from agent.core.swim.messages import (
    Ack,
    Alive,
    Dead,
    Error,
    Foreign,
    IndirectPing,
    Message,
    Nack,
    NodeState,
    Ping,
    PushPull,
    Suspect,
    User,
)
from agent.core.swim.schema import MAPPED
from agent.core.swim.wire import MARK

printable = st.characters(min_codepoint=32, max_codepoint=0x2FFF, categories=["L", "N", "P", "S"])
names = st.text(printable, min_size=1, max_size=80)
maybe_names = st.text(printable, max_size=80)
u32 = st.integers(0, 0xFFFF_FFFF)
ports = st.integers(1, 0xFFFF)
addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16).filter(lambda a: not a.startswith(MAPPED))
metas = st.binary(max_size=512)
octet = st.integers(0, 255)
versions = st.tuples(octet, octet, octet, octet, octet, octet)
maybe_addresses = st.just(b"") | addresses
maybe_ports = st.integers(0, 0xFFFF)
blobs = st.binary(max_size=600)
foreign = blobs.filter(lambda payload: not payload.startswith(MARK))

pings = st.builds(Ping, u32, maybe_names, maybe_addresses, maybe_ports, maybe_names)
acks = st.builds(Ack, u32, blobs)
node_states = st.builds(NodeState, names, addresses, ports, u32, st.integers(0, 3), metas, versions)
users: Any = st.builds(User, blobs) | st.builds(Foreign, foreign)
packet_messages: st.SearchStrategy[Message] = st.one_of(
    pings,
    acks,
    users,
    st.builds(IndirectPing, u32, addresses, ports, maybe_names, st.booleans(), maybe_addresses, maybe_ports, maybe_names),
    st.builds(Nack, u32),
    st.builds(Suspect, u32, names, maybe_names),
    st.builds(Dead, u32, names, maybe_names),
    st.builds(Alive, u32, names, addresses, ports, metas, versions),
)
push_pulls = st.builds(PushPull, st.lists(node_states, max_size=12).map(tuple), st.booleans(), blobs)
stream_messages: st.SearchStrategy[Message] = st.one_of(pings, acks, users, push_pulls, st.builds(Error, st.text(printable, max_size=200)))
