"""Which mode a group should be in, by rules with hysteresis. Pure: figures in, a wish out; the wish becomes an `Epoch` entry.

Only the leader's wish counts, and only through the log; a wrong one costs speed, never safety. The figures come from members by
whatever way: none of them is trusted beyond that.
"""

from typing import Final

from msgspec import Struct

from agent.core.modes.epoch import BYZANTINE, BYZANTINE_VOTERS, FAST, NAMES, ORDERED, Tuning


class Figures(Struct, frozen=True):
    """Of the last window. `conflicts`: share of commands that touched what another under way touched. `rtt_s`: median round trip between
    voters. `loss`: share of messages lost. `wrong`: messages that no correct member and no network makes (`Suspicions.wrong`).
    `cross_region`: share of commands that came from another region than the leader's. `commands_s`: rate."""

    voters: int
    commands_s: float = 0.0
    conflicts: float = 0.0
    rtt_s: float = 0.0
    loss: float = 0.0
    wrong: int = 0
    regions: int = 1
    cross_region: float = 0.0


class Rules(Struct, frozen=True):
    """Thresholds to enter and, lower or higher, to leave, so that a figure between them changes nothing."""

    fast_conflicts: float = 0.02
    fast_conflicts_leave: float = 0.10
    fast_rtt_s: float = 0.005
    """Below it a round trip saved is less than a disk's write."""
    fast_rtt_leave_s: float = 0.003
    fast_loss: float = 0.01
    fast_loss_leave: float = 0.05
    """Fast Raft and CURP gain at low loss only."""
    byzantine_wrong: int = 3
    """So many wrong messages in a window are no broken packet."""
    byzantine_calm_windows: int = 360
    """A Byzantine epoch is left after so many windows without one; an operator leaves it sooner."""
    hierarchical_rtt_s: float = 0.03
    hierarchical_local: float = 0.7
    """Share of commands that stay in their region."""
    hierarchical_local_leave: float = 0.4
    agree_windows: int = 3
    """A wish must come up so many windows in a row,"""
    rest_windows: int = 30
    """and an epoch lasts at least so many, but for suspicion, which does not wait."""


class Wish(Struct, frozen=True):
    mode: int
    hierarchical: bool = False
    why: str = ""
    tuning: Tuning = Tuning()


class Controller:
    """One group's. `look` once a window; returns a wish when the mode should change, else None."""

    def __init__(self, rules: Rules = Rules()) -> None:  # noqa: B008 - frozen
        self.rules = rules
        self.pinned = False
        """An operator has chosen (through the log, `EpochState.pinned`): nothing is wished for."""
        self._since = 0
        self._calm = 0
        self._wish: tuple[int, bool] | None = None
        self._agreed = 0

    def entered(self, *, pinned: bool) -> None:
        """An epoch has begun."""
        self.pinned = pinned
        self._since = self._calm = self._agreed = 0
        self._wish = None

    def look(self, mode: int, hierarchical: bool, figures: Figures) -> Wish | None:
        self._since += 1
        self._calm = 0 if figures.wrong else self._calm + 1
        if self.pinned:
            return None
        wish = self._wanted(mode, hierarchical, figures)
        if (wish.mode, wish.hierarchical) == (mode, hierarchical):
            self._wish, self._agreed = None, 0
            return None
        if wish.mode == BYZANTINE:
            return wish
        key = (wish.mode, wish.hierarchical)
        self._agreed = self._agreed + 1 if key == self._wish else 1
        self._wish = key
        if self._agreed < self.rules.agree_windows or self._since < self.rules.rest_windows:
            return None
        return wish

    def _wanted(self, mode: int, hierarchical: bool, figures: Figures) -> Wish:
        rules = self.rules
        if figures.wrong >= rules.byzantine_wrong and mode != BYZANTINE:
            if figures.voters >= BYZANTINE_VOTERS:
                return Wish(BYZANTINE, hierarchical, f"{figures.wrong} wrong messages")
        if mode == BYZANTINE and self._calm < rules.byzantine_calm_windows:
            return Wish(BYZANTINE, hierarchical)
        layered = self._layered(hierarchical, figures)
        fast = self._fast(mode == FAST, figures)
        chosen = FAST if fast else ORDERED
        why = f"conflicts {figures.conflicts:.1%}, round trip {figures.rtt_s * 1000:.1f} ms, loss {figures.loss:.1%}"
        return Wish(chosen, layered, f"{NAMES[chosen]}{' by region' if layered else ''}: {why}")

    def _fast(self, is_fast: bool, figures: Figures) -> bool:
        rules = self.rules
        if is_fast:
            return (
                figures.conflicts <= rules.fast_conflicts_leave
                and figures.rtt_s >= rules.fast_rtt_leave_s
                and figures.loss <= rules.fast_loss_leave
            )
        return figures.conflicts <= rules.fast_conflicts and figures.rtt_s >= rules.fast_rtt_s and figures.loss <= rules.fast_loss

    def _layered(self, is_layered: bool, figures: Figures) -> bool:
        rules = self.rules
        local = 1.0 - figures.cross_region
        if figures.regions < 2:
            return False
        if is_layered:
            return local >= rules.hierarchical_local_leave
        return local >= rules.hierarchical_local and figures.rtt_s >= rules.hierarchical_rtt_s


WINDOW_S: Final = 10.0
"""What the rules' counts are meant for: an epoch lasts five minutes at least, a Byzantine one an hour."""
