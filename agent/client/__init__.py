"""The SDK for applications beside an agent: `Sidecar`, which waits, and `AsyncSidecar`.

Typed; needs aiohttp alone, and nothing of the agent. docs/client.md tells it with examples.
"""

from agent.client.aio import AsyncSidecar
from agent.client.errors import (
    AgentUnreachable,
    Compacted,
    CompareFailed,
    Conflict,
    Full,
    InvalidRequest,
    LeaseLost,
    Locked,
    LockLost,
    NotConfigured,
    NotFound,
    NotOwner,
    OutcomeUnknown,
    SidecarError,
    TooLarge,
    Unavailable,
    WaitOver,
)
from agent.client.sync import Sidecar
from agent.client.types import Consistency, Event, Holder, Item, LeaseInfo, Page, Written

__all__ = [
    "AgentUnreachable",
    "AsyncSidecar",
    "Compacted",
    "CompareFailed",
    "Conflict",
    "Consistency",
    "Event",
    "Full",
    "Holder",
    "InvalidRequest",
    "Item",
    "LeaseInfo",
    "LeaseLost",
    "LockLost",
    "Locked",
    "NotConfigured",
    "NotFound",
    "NotOwner",
    "OutcomeUnknown",
    "Page",
    "Sidecar",
    "SidecarError",
    "TooLarge",
    "Unavailable",
    "WaitOver",
    "Written",
]
