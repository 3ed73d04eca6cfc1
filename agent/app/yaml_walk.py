"""YAML nodes beside the types that they are to become: plain values, and every problem with its path and line.

One wrong value does not hide the next, aliases are counted each time that they are used, and nothing in a document raises.
"""

import difflib
import functools
import math
import re
import types
import typing
from typing import Any, Final

import msgspec
import yaml

from agent.core.units import quantity

NODES_MAX = 200_000
DEPTH_MAX = 64
"""Levels of free-form values (a plugin's settings): no configuration is deeper, and an alias may lead to itself."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong with a configuration."""

    path: str
    message: str
    """What was found and what was expected."""
    line: int = 0
    """From 1; 0 where unknown."""

    def __str__(self) -> str:
        where = f" (line {self.line})" if self.line else ""
        return f"{self.path or 'file'}{where}: {self.message}"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # chosen at run time
    """YAML 1.2's core schema: ``on`` and ``yes`` are text, ``1:30`` is no number. With libyaml, where PyYAML has it: fifteen times
    as fast, and a reload parses beside the data path."""


_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]{1,30}|0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NULL = re.compile(r"~|null|Null|NULL|")

Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", _BOOL, "tTfF"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern.pattern})$"), list(_first))


class Walker:
    """Turns nodes into plain values beside the types, collecting problems as it goes."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[str, int] = {}
        self._count = 0

    def _bad(self, path: str, node: yaml.Node, message: str) -> None:
        self.problems.append(Problem(path, message, node.start_mark.line + 1))

    def read(self, node: yaml.Node, kind: Any, path: str) -> Any:
        self._count += 1
        if self._count == NODES_MAX:
            self._bad(path, node, f"more than {NODES_MAX} values (aliases count each time)")
        if self._count >= NODES_MAX:
            return None
        self.lines[path] = node.start_mark.line + 1
        unit = ""
        if typing.get_origin(kind) is typing.Annotated:
            meta = kind.__metadata__[0]
            unit = (meta.extra or {}).get("unit", "")
            value = self._plain(node, kind.__origin__, path, unit)
            return self._bounded(node, value, meta, path)
        return self._plain(node, kind, path, unit)

    def read_text(self, text: str, kind: Any, path: str) -> Any:
        """The same of a text that is in no file, such as an environment variable's."""
        mark = yaml.Mark(path, 0, -1, 0, None, 0)
        return self.read(yaml.ScalarNode("tag:yaml.org,2002:str", text, mark, mark, style='"'), kind, path)

    def _plain(self, node: yaml.Node, kind: Any, path: str, unit: str) -> Any:
        origin = typing.get_origin(kind)
        if origin is typing.Union or origin is types.UnionType:
            return self._union(node, typing.get_args(kind), path)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(node, kind, path)
        if origin is tuple:
            if not isinstance(node, yaml.SequenceNode):
                self._bad(path, node, f"found {_shown(node)}, expected a list")
                return None
            return [self.read(item, typing.get_args(kind)[0], f"{path}[{index}]") for index, item in enumerate(node.value)]
        if origin is dict or kind is dict:
            return self._mapping(node, typing.get_args(kind)[1], path)
        if kind is Any:
            return self._free(node, path, 1)
        return self._scalar(node, kind, path, unit)

    def _union(self, node: yaml.Node, kinds: tuple[Any, ...], path: str) -> Any:
        if node.tag == "tag:yaml.org,2002:null" and type(None) in kinds:
            return None
        rest = [kind for kind in kinds if kind is not type(None)]
        for kind in rest:
            bare = kind.__origin__ if typing.get_origin(kind) is typing.Annotated else kind
            is_struct = isinstance(bare, type) and issubclass(bare, msgspec.Struct)
            is_list = typing.get_origin(bare) is tuple
            if (
                (isinstance(node, yaml.MappingNode) and is_struct)
                or (isinstance(node, yaml.SequenceNode) and is_list)
                or (isinstance(node, yaml.ScalarNode) and not is_struct and not is_list)
            ):
                return self.read(node, kind, path)
        return self.read(node, rest[0], path)

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct], path: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            if node.tag == "tag:yaml.org,2002:null":
                return {}
            self._bad(path, node, f"found {_shown(node)}, expected a mapping with {', '.join(kind.__struct_fields__[:6])}, ...")
            return None
        hints = hints_of(kind)
        found: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            at = f"{path}.{key}" if path else key
            if key in seen:
                self._bad(at, key_node, "the key is there twice")
            elif key and key not in hints:
                near = difflib.get_close_matches(key, list(hints), 1)
                hint = f"; did you mean {near[0]}?" if near else f", expected one of {', '.join(sorted(hints))}"
                self._bad(at, key_node, f"unknown key{hint}")
            elif key:
                seen.add(key)
                good = len(self.problems)
                value = self.read(value_node, hints[key], at)
                if value is not None or len(self.problems) == good:
                    found[key] = value  # else as if it were not there, so that the rest can be looked at
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in seen:
                self._bad(f"{path}.{field.name}" if path else field.name, node, "is missing")
        return found

    def _key(self, node: yaml.Node, path: str) -> str:
        """A mapping's key; empty, and a problem, where it is none."""
        if isinstance(node, yaml.ScalarNode) and node.value:
            return str(node.value)
        self._bad(path, node, f"found {_shown(node)} as a key, expected text")
        return ""

    def _mapping(self, node: yaml.Node, kind: Any, path: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            if node.tag == "tag:yaml.org,2002:null":
                return {}
            self._bad(path, node, f"found {_shown(node)}, expected a mapping")
            return None
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            at = f"{path}.{key}"
            if key in found:
                self._bad(at, key_node, "the key is there twice")
            if key:
                found[key] = self.read(value_node, kind, at)
        return found

    def _free(self, node: yaml.Node, path: str, depth: int) -> Any:
        """A value of no type that is known here, as JSON would have it."""
        self._count += 1
        if depth > DEPTH_MAX:
            self._bad(path, node, f"more than {DEPTH_MAX} levels deep (or an alias that leads to itself)")
            return None
        if self._count >= NODES_MAX:
            if self._count == NODES_MAX:
                self._bad(path, node, f"more than {NODES_MAX} values (aliases count each time)")
            return None
        if isinstance(node, yaml.MappingNode):
            found: dict[str, Any] = {}
            for key_node, value_node in node.value:
                key = self._key(key_node, path)
                if key in found:
                    self._bad(f"{path}.{key}", key_node, "the key is there twice")
                if key:
                    found[key] = self._free(value_node, f"{path}.{key}", depth + 1)
            return found
        if isinstance(node, yaml.SequenceNode):
            return [self._free(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(node.value)]
        tag = node.tag.rpartition(":")[2]
        for kind in (bool, int, float, str):
            value = _scalar_value(node, kind)
            if value is not None:
                return value
        if tag != "null":
            self._bad(path, node, f"found {_shown(node)} tagged {node.tag}, expected text, a number, true, false, a list or a mapping")
        return None

    def _scalar(self, node: yaml.Node, kind: Any, path: str, unit: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self._bad(path, node, f"found {_shown(node)}, expected {_called(kind, unit)}")
            return None
        text = node.value
        if typing.get_origin(kind) is typing.Literal:
            options = typing.get_args(kind)
            for option in options:
                if str(option) == text:
                    return option
            self._bad(path, node, f"found {text!r}, expected one of {', '.join(str(option) for option in options)}")
            return None
        if unit in _UNITS:
            value = quantity(text, unit)
            if value is None:
                self._bad(path, node, f"found {text!r}, expected {_UNITS[unit]}")
            return value
        value = _scalar_value(node, kind)
        if value is None and kind is str and node.tag.rpartition(":")[2] in ("int", "float"):
            self._bad(path, node, f"found the number {text[:60]}, expected text: put it in quotes")
        elif value is None:
            self._bad(path, node, f"found {_shown(node)}, expected {_called(kind, unit)}")
        elif kind is float and not math.isfinite(value):
            self._bad(path, node, f"found {text[:60]}, expected a finite number")
            return None
        return value

    def _bounded(self, node: yaml.Node, value: Any, meta: msgspec.Meta, path: str) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            unit = (meta.extra or {}).get("unit", "")
            most = meta.le if meta.le is not None else _MOST[unit]
            if meta.ge is not None and value < meta.ge:
                self._bad(path, node, f"found {node.value[:60]}, expected at least {meta.ge}")
                return None
            if value > most:
                self._bad(path, node, f"found {node.value[:60]}, expected at most {most}")
                return None
        return value


_MOST: Final = {"duration": 315_360_000, "size": 2**53, "share": 1, "": 2**31 - 1, "address": 0}
"""Where a type has no bound of its own: ten years, what a float counts exactly, what every system call takes."""


@functools.cache
def hints_of(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a struct with their annotated types."""
    return typing.get_type_hints(kind, include_extras=True)


def _scalar_value(node: yaml.Node, kind: Any) -> Any:
    """What a scalar says as a bool, int, float or text; None where it says no such thing."""
    if not isinstance(node, yaml.ScalarNode):
        return None
    text = node.value
    tag = node.tag.rpartition(":")[2]
    if kind is str:
        return text if tag == "str" or node.style in ("'", '"') else None
    if node.style in ("'", '"'):
        return None
    if kind is bool:
        return text.lower() == "true" if tag == "bool" and _BOOL.fullmatch(text) else None
    if kind is int and tag == "int" and _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    if kind is float and tag in ("int", "float") and _FLOAT.fullmatch(text):
        return float(text)
    return None


_UNITS = {
    "duration": "a duration such as 250ms, 10s, 5m or a number of seconds",
    "size": "a size such as 64KiB, 10MB or a number of bytes",
    "share": "a share such as 0.2 or 20%",
}


def _called(kind: Any, unit: str) -> str:
    if unit in _UNITS:
        return _UNITS[unit]
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(kind, str(kind))


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "nothing" if node.tag.endswith(":null") else repr(node.value)[:60]
