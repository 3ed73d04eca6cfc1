"""Introduces consensus to the agent. Imported only where `consensus` is configured."""

import sys
from typing import TYPE_CHECKING, Final

from agent.cluster.board import FabricBoard
from agent.cluster.consensus.service import Consensus
from agent.cluster.identity import WILDCARDS, advertised
from agent.core.swim.members import place_of
from agent.core.swim.messages import Place
from agent.runtime.discovery import parse_place
from agent.runtime.transport.tls import MutualTls, TlsFiles
from agent.state.api import ListenError, StateApi

if TYPE_CHECKING:
    from agent.app.config import Consensus as Section
    from agent.app.wiring import Agent
    from agent.cluster.fabric import Fabric

SWITCH_S: Final = 0.0005
"""The log's writer gets the interpreter's lock back from a busy loop within this, where Python's own 5 ms would be most of a commit:
64 clients' writes a second rose by a third (docs/decisions/0024-consensus-host.md)."""


async def start_consensus(agent: "Agent", config: "Section", fabric: "Fabric") -> tuple[Consensus, StateApi]:
    """This agent's part in its group, on its way, and the API over it. Raises OSError where they cannot listen."""
    cluster = fabric.config
    tls = None
    if cluster.tls is not None:
        files = TlsFiles(cluster.tls.certificate, cluster.tls.key, cluster.tls.authorities)
        tls = fabric.tls or MutualTls(files, cluster.tls.trust_domain, cluster.tls.paths)
    host, _, port = config.bind.rpartition(":")
    bound = host.strip("[]")

    def own_place(listening: int) -> Place:
        if config.advertise:
            return advertised(config.advertise, (bound, listening))
        if bound not in WILDCARDS:
            return bound, listening
        told = fabric.swim.member(fabric.name)
        return (place_of(told.address, told.port)[0] if told is not None else advertised("", (bound, listening))[0]), listening

    consensus = Consensus(
        config,
        cluster.name,
        agent.agent_id,
        FabricBoard(fabric),
        agent.log,
        own_place,
        lambda: fabric.keys.ring.keys if fabric.keys.ring is not None else (),
        tls,
        tell=lambda kind, text: fabric.events.tell(kind, fabric.name, text),
    )
    if config.data:
        sys.setswitchinterval(SWITCH_S)
    place = parse_place(config.bind, 0) if port != "0" else (bound, 0)
    try:
        await consensus.start(place)
    except OSError as error:
        raise OSError(f"consensus.bind: {error}") from None
    api = StateApi(consensus, config.api, agent.log, agent.agent_id)
    try:
        await api.start()
    except ListenError as error:
        await consensus.stop()
        raise OSError(str(error)) from None
    return consensus, api
