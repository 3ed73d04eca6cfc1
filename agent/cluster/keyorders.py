"""Orders to the key rings of all members: list, install, use, remove; the same three steps as Serf's.

They travel as questions of our own (`asks`), sealed by the ring that they are about. Serf's agents have another way for theirs, so their
rings are named among the errors and not changed.
"""

from typing import TYPE_CHECKING, Any, Final

from agent.cluster.far import RegionKeys, far_name
from agent.core.swim.keyring import KeyRingError
from agent.core.swim.messages import DEAD

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric

WAIT_S: Final = 5.0
FAR_WAIT_S: Final = 8.0
"""The other regions' members have `WAIT_S` of it."""
OPERATIONS: Final = ("list", "install", "use", "remove")
FOREIGN: Final = "not an agent of ours: change its key ring there"


class KeyOrders:
    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric

    async def give(self, operation: str, key: str) -> dict[str, Any]:
        """Do it here, then ask everybody to, in other regions through the gateways. The order in which members do it does not matter:
        each step leaves all able to hear all. A region where no gateway answers is among the errors."""
        fabric = self._fabric
        here = await self.give_here(operation, key)
        far = {each.region: each for each in await fabric.regions.keys(operation, key, FAR_WAIT_S)} if fabric.regions.names else {}
        errors = dict(here.errors)
        for region in fabric.regions.names:
            if region in far:
                errors.update((far_name(region, name), text) for name, text in far[region].errors.items())
            else:
                errors[f"region {region}"] = "no gateway answers: give the order there, or again"
        holders = dict(here.holders)
        for each in far.values():
            for name, count in each.holders.items():
                holders[name] = holders.get(name, 0) + count
        own = [str(each["fingerprint"]) for each in fabric.keys.fingerprints()]
        regions = {here.region: here, **far} if fabric.regions.names else {}
        return {
            "op": operation,
            "scope": "cluster" if here.of > 1 or regions else "local",
            "acknowledged": here.acknowledged + sum(each.acknowledged for each in far.values()),
            "of": here.of + sum(each.of for each in far.values()),
            "errors": errors,
            "keys": [{"fingerprint": name, "primary": name in own[:1], "members": count} for name, count in holders.items()],
            "regions": {name: {"acknowledged": each.acknowledged, "of": each.of} for name, each in sorted(regions.items())},
        }

    async def give_here(self, operation: str, key: str) -> RegionKeys:
        """In this region."""
        fabric = self._fabric
        if operation not in OPERATIONS:
            raise ValueError(f"found {operation!r}, expected one of {', '.join(OPERATIONS)}")
        own = self.obey(operation, key)
        names = sorted(fabric.peers.live)
        answers = await fabric.asks.ask(names, fabric.stamps.now(), "keys", (operation, key), WAIT_S) if fabric.running else {}
        errors = {name: answers[name].error if name in answers else "no answer" for name in names}
        errors = {name: text for name, text in errors.items() if text}
        errors.update(
            (node.name, FOREIGN)
            for node in fabric.swim.members()
            if node.state < DEAD and node.name != fabric.name and node.name not in fabric.peers.live
        )
        holders: dict[str, int] = dict.fromkeys(own, 1)
        for answer in answers.values():
            for name in answer.values:
                holders[name] = holders.get(name, 0) + 1
        acknowledged = 1 + sum(not answer.error for answer in answers.values())
        return RegionKeys(fabric.region, acknowledged, 1 + len(names), errors, holders)

    def obey(self, operation: str = "", key: str = "") -> tuple[str, ...]:
        """Do it here. The fingerprints of the ring, the primary first. ValueError: it is not possible."""
        fabric = self._fabric
        if operation != "list":
            try:
                done = fabric.keys.change(operation, key)
            except KeyRingError as error:
                raise ValueError(str(error)) from None
            fabric.note_keys(done)
        return tuple(str(each["fingerprint"]) for each in fabric.keys.fingerprints())
