"""What the connections of one listener share, and what the data path derives from a request head once."""

from typing import Final

from agent.core.routing.table import RouteTable, RouteTarget
from agent.proxy.counters import ListenerCounters
from agent.proxy.datapath import DataPath, RoutePolicy

EGRESS: Final = 0
INGRESS: Final = 1
TRANSPARENT: Final = 2
KIND_NAMES: Final = ("egress", "ingress", "transparent")


class Gate:
    """One listener. `table` is a cell that a reload swaps; heads remember their plan by it."""

    def __init__(self, path: DataPath, kind: int, table: RouteTable, counters: ListenerCounters) -> None:
        self.path = path
        self.kind = kind
        self.table = table
        self.counters = counters
        self.own_addresses: frozenset[tuple[str, int]] = frozenset()
        """Where this agent listens: a transparent connection to one of these would loop."""
        self.plans: dict[bytes, Plan] = {}
        """Plans of simple heads by request line and authority (pipeline.plan_for), made for `plans_of`."""
        self.plans_of: object = None


class Plan:
    """What is the same for every request with this head under this table."""

    __slots__ = ("cacheable", "key", "plain", "policy", "target")

    def __init__(self, target: RouteTarget | None, policy: RoutePolicy | None) -> None:
        self.target = target
        self.policy = policy
        """None where no route matched, or where a split chooses for each request."""
        self.cacheable = False
        """The cache may be asked."""
        self.plain = False
        """A fresh stored response may be written at once, with nothing else to look at."""
        self.key = b""
