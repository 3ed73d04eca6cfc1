"""``python -m loadtest micro`` measures what it says: every policy can be driven, and leaves nothing under way by mistake."""

import pytest

from loadtest import micro


@pytest.mark.parametrize("policy", micro.POLICIES)
def test_every_policy_is_measured(policy: str) -> None:
    assert micro.one(policy, 10, decisions=200) > 0.0
    assert micro.one(policy, 2, "a", decisions=200) > 0.0
