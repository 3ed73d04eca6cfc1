"""."""

DOCUMENT: dict[str, object] = {}
