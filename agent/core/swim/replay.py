"""Which sealed frames came before: their nonces are random and no sender uses one twice, so a nonce that comes again is a replay.

memberlist's frames bear no time and no counter, and stay as they are on the wire; so the window is one of frames, not of seconds. It
holds between `frames` and twice as many. What is older passes here; why that does no harm is said in docs/wire.md.
"""


class ReplayWindow:
    """Two generations: when the young one is full it becomes the old one. 0 frames: nothing is remembered, everything is new."""

    def __init__(self, frames: int) -> None:
        self._frames = frames
        self._young: set[bytes] = set()
        self._old: set[bytes] = set()

    def is_new(self, nonce: bytes) -> bool:
        """Whether it has not been seen within the window; from now on it has. Only for frames that verified: strangers fill nothing."""
        if nonce in self._young or nonce in self._old:
            return False
        if len(self._young) >= self._frames:
            self._old = self._young
            self._young = set()
        if self._frames:
            self._young.add(nonce)
        return True
