"""What a simulated group stands on: machines, network, disks."""

from msgspec import Struct

from agent.sim.disk import DiskConfig
from agent.sim.network import NetworkConfig


class Settings(Struct, frozen=True):
    voters: int = 3
    spares: int = 0
    """Machines that belong to no group at first."""
    zones: int = 3
    network: NetworkConfig = NetworkConfig()
    disk: DiskConfig = DiskConfig()
    snapshot_every: int = 200
    """Entries between two snapshots."""
    snapshot_s: float = 0.01
    """How long it takes to write one."""
    turn_s: float = 0.0001
    """Proposals that come within one turn of the host's loop go to the core together."""
    in_order: bool = True
    """Messages between two hosts arrive in their order, as on a connection."""
    priorities: tuple[int, ...] = (1,)
    """Of the machines, in turn; those with more are preferred as leaders."""
    ticks: bool = False
    """A leader tells the state machine the time when something is due to end by itself, as the agent's host does."""
