"""Proof that a Byzantine epoch is over: a quorum's checkpoint right after its last entry, and that entry, bound to it by the hash chain."""

import msgspec
from msgspec import Struct

from agent.core.pbft.certificates import wrong_with_proof
from agent.core.pbft.desk import Desk
from agent.core.pbft.messages import Checkpoint
from agent.core.pbft.state import link
from agent.core.pbft.wire import WireError, check_proof
from agent.core.replica.log import EPOCH, Entry


class EndProof(Struct, frozen=True, array_like=True):
    checkpoints: tuple[Checkpoint, ...]
    before: bytes
    entry: Entry


_decoder = msgspec.msgpack.Decoder(EndProof)


def encode_end(proof: EndProof) -> bytes:
    return msgspec.msgpack.encode(proof)


def checked_end(desk: Desk, data: bytes) -> EndProof | None:
    """None for what proves nothing."""
    try:
        proof = _decoder.decode(data)
        check_proof(proof.checkpoints)
    except (msgspec.MsgspecError, WireError):
        return None
    if not proof.checkpoints or wrong_with_proof(desk, proof.checkpoints):
        return None
    said, entry = proof.checkpoints[0], proof.entry
    if entry.kind != EPOCH or entry.index != said.index or link(proof.before, entry) != said.chain:
        return None
    return proof
