"""Which core an epoch runs, made from the group's configuration and what the epoch says of batches and timeouts."""

from collections.abc import Callable
from functools import partial
from hashlib import sha256

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from agent.core.modes.epoch import BYZANTINE, EpochState, decode_epoch, wrong_with
from agent.core.modes.epochs import LED, RESTARTED, Make
from agent.core.pbft.config import PbftConfig
from agent.core.pbft.core import Pbft
from agent.core.pbft.desk import Sign, Verify
from agent.core.pbft.normal import Acceptable, anything
from agent.core.raft.config import RaftConfig
from agent.core.raft.core import Raft
from agent.core.raft.desk import Chance
from agent.core.replica.io import Replica
from agent.core.replica.log import Recovered


class Keys(Struct, frozen=True):
    sign: Sign
    verify: Verify


def context_of(group: bytes, state: EpochState) -> bytes:
    """What signatures of an epoch are bound to: the group, and all that the epoch began with."""
    return sha256(b"epoch" + group + msgspec.msgpack.encode((state.number, state.index, state.term, state.members))).digest()


def raft_for(config: RaftConfig, state: EpochState) -> RaftConfig:
    tuning = state.tuning
    if tuning.batch_bytes:
        config = replace(config, max_batch_bytes=tuning.batch_bytes)
    if tuning.election_ms:
        election_s = tuning.election_ms / 1000.0
        config = replace(config, election_s=election_s, heartbeat_s=min(config.heartbeat_s, election_s / 5))
    return config


def pbft_for(config: PbftConfig, group: bytes, state: EpochState) -> PbftConfig:
    config = replace(config, context=context_of(group, state), epoch=state.number, first_term=state.term + 1)
    tuning = state.tuning
    if tuning.batch_bytes:
        config = replace(config, max_batch_bytes=min(tuning.batch_bytes, config.max_batch_bytes))
    if tuning.election_ms:
        config = replace(config, request_timeout_s=2 * tuning.election_ms / 1000.0)
    return config


def ends(state: EpochState, data: bytes) -> bool:
    """Is this command the end of that epoch?"""
    epoch = decode_epoch(data)
    return epoch is not None and not epoch.close and not wrong_with(epoch, state, state.members)


def maker(
    me: int,
    group: bytes,
    raft: RaftConfig,
    pbft: PbftConfig,
    random: Chance,
    keys: Keys | None,
    acceptable: Acceptable = anything,
    spoil: Callable[[Replica], None] | None = None,
) -> Make:
    """`keys` None: this member cannot take part in Byzantine epochs; ValueError when one begins. `spoil`: for tests."""

    def make(state: EpochState, recovered: Recovered, now: float, blank: bool, how: int) -> Replica:
        core: Replica
        if state.mode == BYZANTINE:
            if keys is None:
                raise ValueError("a Byzantine epoch begins, and this member has no keys")
            config = pbft_for(pbft, group, state)
            core = Pbft(
                me,
                config,
                state.members,
                recovered,
                keys.sign,
                keys.verify,
                acceptable=acceptable,
                nonce=int(random.random() * (1 << 40)),
                blank=blank,
                ends=partial(ends, state),
            )
        else:
            core = Raft(me, raft_for(raft, state), random, recovered, now)
            if how != RESTARTED:
                core.begin_epoch(how == LED)
        if spoil is not None:
            spoil(core)
        return core

    return make
