"""The configured ways to find members, as discovery's sources. What a source needs is imported only where it is configured."""

from agent.cluster.config import ClusterConfig
from agent.core.swim.messages import Place
from agent.runtime.discovery import Source
from agent.runtime.discovery.sources import AddressFile, DnsHost, StaticSeeds


def sources(config: ClusterConfig, name: str, own: Place) -> list[Source]:
    """own: the place that we announce where announcing is part of it."""
    discovery = config.discovery
    found: list[Source] = []
    if config.seeds:
        found.append(StaticSeeds(config.seeds, discovery.port))
    found.extend(DnsHost(host, discovery.port) for host in discovery.dns)
    if discovery.file:
        found.append(AddressFile(discovery.file, discovery.port))
    if discovery.srv:
        from agent.runtime.discovery.srv import DnsSrv

        found.extend(DnsSrv(service) for service in discovery.srv)
    if discovery.mdns:
        from agent.runtime.discovery.mdns import Mdns

        found.append(Mdns(config.name, name, own if ":" not in own[0] else None))
    return found
