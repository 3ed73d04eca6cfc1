"""LightGBM's model as flat arrays."""

from typing import Any

from agent.core.modes.forest import Forest, problem_with


def flat(booster: Any) -> Forest:
    """Raises ValueError for a model with categories or missing values, which the evaluation does not know."""
    dump = booster.dump_model()
    roots: list[int] = []
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    values: list[float] = []

    def add(node: dict[str, Any]) -> int:
        if "leaf_value" in node:
            values.append(float(node["leaf_value"]))
            return -len(values)
        if node["decision_type"] != "<=":
            raise ValueError(f"a decision by {node['decision_type']!r}, expected '<='")
        at = len(feature)
        feature.append(int(node["split_feature"]))
        threshold.append(float(node["threshold"]))
        left.append(0)
        right.append(0)
        left[at] = add(node["left_child"])
        right[at] = add(node["right_child"])
        return at

    for tree in dump["tree_info"]:
        roots.append(add(tree["tree_structure"]))
    columns = (tuple(feature), tuple(threshold), tuple(left), tuple(right), tuple(values))
    forest = Forest(int(dump["max_feature_idx"]) + 1, tuple(roots), *columns)
    problem = problem_with(forest)
    if problem:
        raise ValueError(problem)
    return forest
