"""A trained model means the same as flat arrays, and a bad one does no more than choose badly."""

import re
from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.modes.forest import Forest, problem_with

ROOT = Path(__file__).resolve().parents[3]
STUMP = Forest(2, (0, -3), (1,), (0.5,), (-1,), (-2,), (1.0, 2.0, 0.25))


def test_a_tree_by_hand() -> None:
    assert STUMP.predict((9.0, 0.5)) == 1.25
    assert STUMP.predict((9.0, 0.6)) == 2.25
    with pytest.raises(ValueError, match="1 features, expected 2"):
        STUMP.predict((1.0,))
    assert msgspec.json.decode(msgspec.json.encode(STUMP), type=Forest) == STUMP


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_flat_model_is_lightgbm_s_to_the_last_bit(seed: int) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    numpy = pytest.importorskip("numpy")
    from agent.ml.export import flat

    random = Random(seed)
    rows = [[random.gauss(0, 1) for _ in range(5)] for _ in range(400)]
    costs = [row[0] * row[1] + abs(row[2]) + random.gauss(0, 0.1) for row in rows]
    data = lightgbm.Dataset(numpy.array(rows), numpy.array(costs))
    booster = lightgbm.train({"num_leaves": 15, "verbose": -1, "seed": seed}, data, num_boost_round=30)
    forest = flat(booster)
    asked = [tuple(random.gauss(0, 2) for _ in range(5)) for _ in range(300)] + [tuple(row) for row in rows[:100]]
    assert [forest.predict(row) for row in asked] == list(booster.predict(numpy.array(asked)))


@given(
    st.builds(
        Forest,
        st.integers(1, 3),
        st.tuples(st.integers(-4, 4)),
        st.lists(st.integers(-1, 3), max_size=3).map(tuple),
        st.lists(st.floats(-1, 1), max_size=3).map(tuple),
        st.lists(st.integers(-4, 4), max_size=3).map(tuple),
        st.lists(st.integers(-4, 4), max_size=3).map(tuple),
        st.lists(st.floats(-1, 1), max_size=3).map(tuple),
    )
)
def test_what_is_found_right_ends_for_any_row(forest: Forest) -> None:
    if not problem_with(forest):
        forest.predict((0.0,) * forest.features)


def test_only_ml_imports_lightgbm() -> None:
    for path in sorted((ROOT / "agent").rglob("*.py")):
        if "ml" not in path.relative_to(ROOT).parts[1:2]:
            assert not re.search(r"^\s*(import|from) lightgbm", path.read_text(encoding="utf-8"), re.MULTILINE), path
