"""Exactly once: what was acknowledged took effect, and nothing took effect twice."""

from collections import Counter
from collections.abc import Hashable, Iterable

from agent.sim.history.operation import Operation


def miscounted(operations: Iterable[Operation], total: int) -> str:
    """Why this cannot be the sum of these `add`s at the end; empty when it can.

    Every acknowledged one counts once; one whose outcome is unknown once or not at all. Sums that were told to the clients must all be
    different where the amounts are positive, and none may be beyond the total. Amounts that are different from each other say more.
    """
    added = [one for one in operations if one.name == "add"]
    acknowledged = sum(one.args[0] for one in added if one.known)
    unknown = [one.args[0] for one in added if not one.known]
    positive = all(one.args[0] > 0 for one in added)
    told = Counter(one.output for one in added if one.known and one.output is not None)
    if positive:
        for sum_after, times in told.items():
            if times > 1:
                return f"{times} increments were told the same sum {sum_after}: one was counted in the other's place"
            if sum_after > total:
                return f"an increment was told {sum_after}, and the total is {total}: it was lost"
    rest = total - acknowledged
    if _reachable(unknown, rest):
        return ""
    most = sum(amount for amount in unknown if amount > 0)
    least = sum(amount for amount in unknown if amount < 0)
    if rest < least:
        return f"{least - rest} less than the acknowledged increments make ({acknowledged}): lost"
    if rest > most:
        return f"{rest - most} more than all increments make, acknowledged ({acknowledged}) and unknown ({most}): counted twice"
    return f"no choice of the {len(unknown)} unknown increments makes the {rest} beyond the acknowledged {acknowledged}"


def _reachable(amounts: list[int], wanted: int) -> bool:
    """Do some of these amounts add up to that? One bit for each sum."""
    lowest = sum(amount for amount in amounts if amount < 0)
    sums = 1 << -lowest
    for amount in amounts:
        sums |= sums << amount if amount >= 0 else sums >> -amount
    return wanted >= lowest and bool(sums >> (wanted - lowest) & 1)


def misapplied(applied: Iterable[Hashable], acknowledged: Iterable[Hashable], unknown: Iterable[Hashable]) -> str:
    """Why this list of marks, one for each time that an operation took effect, is wrong; empty when it is right."""
    times = Counter(applied)
    surely = set(acknowledged)
    for mark, count in times.items():
        if count > 1:
            return f"{mark!r} took effect {count} times"
    lost = sorted(surely - times.keys(), key=repr)
    if lost:
        return f"{len(lost)} acknowledged and lost: {', '.join(map(repr, lost[:10]))}"
    alien = sorted(times.keys() - surely - set(unknown), key=repr)
    return f"took effect and was never asked: {', '.join(map(repr, alien[:10]))}" if alien else ""
