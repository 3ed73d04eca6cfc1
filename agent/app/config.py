"""The whole configuration: the root struct of the YAML file."""

from typing import Any, Literal

from msgspec import Struct

from agent.cluster.config import ClusterConfig
from agent.cluster.consensus.config import ConsensusConfig
from agent.core.cache.config import CacheStore
from agent.core.http.config import ClientTimeouts, Drain, HeaderPolicy, HttpLimits, WhyConfig
from agent.core.routing.config import Service
from agent.core.units import Duration, Positive
from agent.proxy.config import AccessLog, Announcement, Egress, Listen
from agent.state.config import ApiConfig


class AgentIdentity(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who this agent is. Changing it needs a restart."""

    id: str = ""
    """Unique in the mesh; the host name where empty."""
    region: str = "local"
    zone: str = ""


class Log(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The agent's own log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"
    access: AccessLog = AccessLog()


class PluginConfig(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One plugin to load."""

    name: str
    """Entry point in the group ``pilotfish.plugins``, or a name for the plugin at `path`."""
    path: str = ""
    """Where to load it from: a Python file or a package's directory, if need be with ``:Class`` behind it; a relative path starts
    at the configuration's directory."""
    config: dict[str, Any] = {}
    """Checked against the plugin's own typed configuration."""
    required: bool = False
    """A fault of a required plugin fails the request; one of any other is counted and passed over."""
    budget: Duration = 0.005
    """A hook that takes longer counts as a fault."""
    faults_max: Positive = 10
    """Faults after which the plugin is switched off; a hundred calls without one make up for one."""


class Consensus(ConsensusConfig, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This agent's part in a group of agents that agree. Needs `cluster`, through which they find each other, and whose keys or
    certificates protect what they say. Changing it needs a restart."""

    api: ApiConfig = ApiConfig()
    """For the applications beside this agent."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an agent is told."""

    agent: AgentIdentity = AgentIdentity()
    listen: Listen = Listen()
    services: dict[str, Service] = {}
    application: Service | None = None
    """The local application behind `listen.ingress`."""
    announce: tuple[Announcement, ...] = ()
    """What this agent tells the members of its cluster to send here."""
    egress: Egress = Egress()
    cache: CacheStore = CacheStore()
    http: HttpLimits = HttpLimits()
    timeouts: ClientTimeouts = ClientTimeouts()
    headers: HeaderPolicy = HeaderPolicy()
    drain: Drain = Drain()
    why: WhyConfig = WhyConfig()
    log: Log = Log()
    plugins: tuple[PluginConfig, ...] = ()
    cluster: ClusterConfig | None = None
    """Absent: this agent knows no others, and nothing listens for them."""
    consensus: Consensus | None = None
    """Absent: this agent takes no part in agreeing with others, and asks none."""
