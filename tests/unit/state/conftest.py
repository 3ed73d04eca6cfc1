from collections.abc import Iterator

import pytest

from tests.harness.state_rig import StateRig, state_rig


@pytest.fixture
def rig() -> Iterator[StateRig]:
    with state_rig() as made:
        yield made
