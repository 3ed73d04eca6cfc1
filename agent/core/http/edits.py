"""Header rules made ready: fields to set, add and remove."""

from collections.abc import Mapping, Sequence

from agent.core.http.fields import Field, make_field


class HeaderEdits:
    """Changes to a list of fields. `set` takes the place of every line of its name, `add` comes behind, `remove` drops."""

    def __init__(self, set_fields: Mapping[str, str], add_fields: Mapping[str, str], remove: Sequence[str]) -> None:
        self.set_fields: list[Field] = [_field(name, value) for name, value in set_fields.items()]
        self.add_fields: list[Field] = [_field(name, value) for name, value in add_fields.items()]
        names = {field.name for field in self.set_fields}
        names.update(name.lower().encode("latin-1") for name in remove)
        self.dropped: frozenset[bytes] = frozenset(names)

    def apply(self, fields: list[Field]) -> list[Field]:
        """A new list; the one given is not touched."""
        dropped = self.dropped
        kept = [field for field in fields if field.name not in dropped] if dropped else list(fields)
        kept.extend(self.set_fields)
        kept.extend(self.add_fields)
        return kept

    def then(self, later: "HeaderEdits | None") -> "HeaderEdits":
        """These edits and then `later` ones, as one."""
        if later is None:
            return self
        both = HeaderEdits({}, {}, ())
        kept = [field for field in self.set_fields + self.add_fields if field.name not in later.dropped]
        set_names = {field.name for field in self.set_fields}
        both.set_fields = [field for field in kept if field.name in set_names] + later.set_fields
        both.add_fields = [field for field in kept if field.name not in set_names] + later.add_fields
        both.dropped = self.dropped | later.dropped
        return both


def _field(name: str, value: str) -> Field:
    return make_field(name.encode("latin-1"), value.encode("latin-1"))
