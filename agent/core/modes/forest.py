"""Boosted trees as flat arrays, evaluated as LightGBM does: what `agent.ml` trains travels as such, and nobody else needs LightGBM."""

from msgspec import Struct


class Forest(Struct, frozen=True, array_like=True):
    """The trees' nodes one after the other. From node i on to `left[i]` where feature `feature[i]` is at most `threshold[i]`, else to
    `right[i]`. What is below 0 is a leaf: ~it in `values`. `roots`: where each tree begins. Features are finite numbers."""

    features: int
    roots: tuple[int, ...]
    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    values: tuple[float, ...]

    def predict(self, row: tuple[float, ...]) -> float:
        """The sum over the trees. Raises ValueError for a row of another length."""
        if len(row) != self.features:
            raise ValueError(f"a row of {len(row)} features, expected {self.features}")
        total = 0.0
        feature, threshold, left, right = self.feature, self.threshold, self.left, self.right
        for at in self.roots:
            while at >= 0:
                at = left[at] if row[feature[at]] <= threshold[at] else right[at]
            total += self.values[~at]
        return total


def problem_with(forest: Forest) -> str:
    """What is wrong with one that came from elsewhere; empty: it ends for any row, and reads nothing beyond its arrays."""
    nodes, leaves = len(forest.feature), len(forest.values)
    if not len(forest.threshold) == len(forest.left) == len(forest.right) == nodes:
        return "arrays of different lengths"
    if any(not 0 <= one < forest.features for one in forest.feature):
        return "a feature that is none"
    for at in range(nodes):
        for child in (forest.left[at], forest.right[at]):
            if not (at < child < nodes or -leaves <= child < 0):
                return "a child that does not come later, or a leaf outside"
    if any(not -leaves <= root < nodes for root in forest.roots):
        return "a root outside"
    return ""
