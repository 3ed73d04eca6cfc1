"""Version vectors (Parker et al. 1983): what has been seen of whom, as replica → number of its events, all from the first on.

A replica's name must be of one life (`web-7#3`: name and generation): a restart that counts from one again is another replica.
Vectors are plain dictionaries, never changed in place; a replica that is not in one counts zero.
"""

from collections.abc import Iterable, Mapping
from typing import Final

Vector = Mapping[str, int]

BEFORE: Final = "before"
AFTER: Final = "after"
EQUAL: Final = "equal"
CONCURRENT: Final = "concurrent"


def descends(a: Vector, b: Vector) -> bool:
    """Whether `a` has seen all that `b` has (equal ones descend from each other)."""
    return all(a.get(replica, 0) >= count for replica, count in b.items())


def compare(a: Vector, b: Vector) -> str:
    """How `a` stands to `b`: before, after, equal or concurrent."""
    forward, backward = descends(a, b), descends(b, a)
    if forward:
        return EQUAL if backward else AFTER
    return BEFORE if backward else CONCURRENT


def increment(vector: Vector, replica: str) -> dict[str, int]:
    """The vector after one more event at a replica."""
    return {**vector, replica: vector.get(replica, 0) + 1}


def merge(*vectors: Vector) -> dict[str, int]:
    """All that any of them has seen."""
    merged: dict[str, int] = {}
    for vector in vectors:
        for replica, count in vector.items():
            if count > merged.get(replica, 0):
                merged[replica] = count
    return merged


def meet(vectors: Iterable[Vector]) -> dict[str, int]:
    """All that every one of them has seen: what is *stable* when they are the vectors of all who will ever speak again."""
    first, *others = list(vectors) or [{}]
    return {
        replica: least
        for replica, count in sorted(first.items())
        if (least := min([count, *(other.get(replica, 0) for other in others)])) > 0
    }
