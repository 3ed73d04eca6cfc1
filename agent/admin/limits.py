"""The bounds of the replicated state, for operators. Imported only where somebody asks for them."""

from typing import Any, Final

import msgspec

from agent.core.machine.commands import Count, SetLimits
from agent.core.machine.config import Limits
from agent.core.machine.envelope import encode_command

_WISH: Final = msgspec.json.Decoder(dict[str, Count])


class NoLimits(Exception):
    """What is wished makes no sense (400), or the group does not answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def wish(body: bytes) -> dict[str, int]:
    """Limits by name. Raises NoLimits."""
    try:
        found = _WISH.decode(body or b"{}")
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise NoLimits(400, f"the body: {error}; expected limits by name, as numbers") from None
    unknown = sorted(found.keys() - set(Limits.__struct_fields__))
    if unknown:
        raise NoLimits(400, f"limit {unknown[0]!r}: expected one of {', '.join(Limits.__struct_fields__)}")
    return found


async def set_and_tell(consensus: Any, bounds: dict[str, int]) -> dict[str, int]:
    """Set these for the whole group, and tell all of them as they are then. What is there already stays. Raises NoLimits."""
    if consensus.client_only:
        raise NoLimits(409, "this agent holds no state: ask one that does")
    try:
        if bounds:
            await consensus.propose(encode_command(SetLimits(bounds)), safe=True)  # twice is once
        await consensus.wait_read()
    except consensus.Failed as error:
        raise NoLimits(504 if error.reason in ("timeout", "unknown") else 409, f"the group did not answer: {error.reason}") from None
    told: dict[str, int] = msgspec.structs.asdict(consensus.machine.shared.limits)
    return told
