"""Orders to the key rings of all members: list, install, use, remove; the same three steps as Serf's.

They travel as questions of our own (`asks`), sealed by the ring that they are about. Serf's agents have another way for theirs, so their
rings are named among the errors and not changed.
"""

from typing import TYPE_CHECKING, Any, Final

from agent.core.swim.keyring import KeyRingError
from agent.core.swim.messages import DEAD

if TYPE_CHECKING:
    from agent.cluster.fabric import Fabric

WAIT_S: Final = 5.0
OPERATIONS: Final = ("list", "install", "use", "remove")
FOREIGN: Final = "not an agent of ours: change its key ring there"


class KeyOrders:
    def __init__(self, fabric: "Fabric") -> None:
        self._fabric = fabric

    async def give(self, operation: str, key: str) -> dict[str, Any]:
        """Do it here, then ask everybody to. The order in which members do it does not matter: each step leaves all able to hear all."""
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
        return {
            "op": operation,
            "scope": "cluster" if names else "local",
            "acknowledged": 1 + sum(not answer.error for answer in answers.values()),
            "of": 1 + len(names),
            "errors": errors,
            "keys": [{"fingerprint": name, "primary": bool(own) and name == own[0], "members": count} for name, count in holders.items()],
        }

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
