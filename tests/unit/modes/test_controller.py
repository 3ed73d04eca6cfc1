"""The rules that choose a group's mode: what they wish for, and that they do not go to and fro."""

from msgspec.structs import replace

from agent.core.modes.controller import Controller, Figures, Rules, Wish
from agent.core.modes.epoch import BYZANTINE, FAST, ORDERED

RULES = Rules(agree_windows=3, rest_windows=5, byzantine_calm_windows=10)
FAR = Figures(5, 100.0, 0.0, 0.02, 0.0)
"""20 ms between voters, nothing conflicts."""


def windows(controller: Controller, mode: int, figures: Figures, count: int, hierarchical: bool = False) -> list[Wish | None]:
    return [controller.look(mode, hierarchical, figures) for _ in range(count)]


def first(wishes: list[Wish | None]) -> tuple[int, int]:
    """After how many windows, what."""
    at = next(i for i, wish in enumerate(wishes, 1) if wish is not None)
    wish = wishes[at - 1]
    assert wish is not None
    return at, wish.mode


def test_far_apart_and_without_conflicts_is_fast_after_the_epoch_has_rested() -> None:
    assert first(windows(Controller(RULES), ORDERED, FAR, 9)) == (5, FAST)


def test_near_each_other_or_with_conflicts_or_loss_is_ordered() -> None:
    for figures in (replace(FAR, rtt_s=0.0005), replace(FAR, conflicts=0.5), replace(FAR, loss=0.2)):
        assert not any(windows(Controller(RULES), ORDERED, figures, 50))
        assert first(windows(Controller(RULES), FAST, figures, 9)) == (5, ORDERED)


def test_between_the_thresholds_nothing_changes() -> None:
    for figures in (replace(FAR, conflicts=0.05), replace(FAR, rtt_s=0.004), replace(FAR, loss=0.03)):
        assert not any(windows(Controller(RULES), ORDERED, figures, 50))
        assert not any(windows(Controller(RULES), FAST, figures, 50))


def test_one_window_that_is_another_begins_the_count_anew() -> None:
    controller = Controller(RULES)
    windows(controller, ORDERED, replace(FAR, conflicts=0.5), 10)
    assert windows(controller, ORDERED, FAR, 2) == [None, None]
    assert controller.look(ORDERED, False, replace(FAR, conflicts=0.5)) is None
    assert windows(controller, ORDERED, FAR, 2) == [None, None]
    assert controller.look(ORDERED, False, FAR) is not None


def test_wrong_messages_do_not_wait_and_are_remembered_for_long() -> None:
    lies = replace(FAR, wrong=3)
    assert first(windows(Controller(RULES), ORDERED, lies, 1)) == (1, BYZANTINE)
    controller = Controller(RULES)
    controller.entered(pinned=False)
    assert controller.look(BYZANTINE, False, lies) is None
    found = windows(controller, BYZANTINE, FAR, 20)
    assert first(found) == (12, FAST)


def test_three_voters_cannot_be_byzantine() -> None:
    assert not any(windows(Controller(RULES), ORDERED, Figures(3, wrong=9), 20))


def test_what_an_operator_pinned_stays() -> None:
    controller = Controller(RULES)
    controller.entered(pinned=True)
    assert not any(windows(controller, ORDERED, replace(FAR, wrong=9), 50))
    controller.entered(pinned=False)
    assert any(windows(controller, ORDERED, FAR, 50))


def test_regions_whose_commands_stay_at_home_are_layered() -> None:
    world = Figures(6, 100.0, 0.5, 0.08, 0.0, regions=3, cross_region=0.1)
    wishes = [wish for wish in windows(Controller(RULES), ORDERED, world, 9) if wish]
    assert wishes[0].hierarchical and wishes[0].mode == ORDERED
    assert not any(windows(Controller(RULES), ORDERED, replace(world, cross_region=0.5), 20))
    assert not any(windows(Controller(RULES), ORDERED, replace(world, cross_region=0.5), 20, hierarchical=True))
    leaves = [wish for wish in windows(Controller(RULES), ORDERED, replace(world, cross_region=0.8), 9, hierarchical=True) if wish]
    assert not leaves[0].hierarchical
