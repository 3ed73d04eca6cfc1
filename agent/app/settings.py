"""From a YAML file and the environment to `Settings`, or to every problem with them at once.

The only reader of YAML and of the environment. The document is walked as nodes, beside the types, so that each problem
knows its path (``services.web.endpoints[0]``) and line, and so that one wrong value does not hide the next.
"""

import difflib
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agent.app.config import Settings
from agent.app.validate import contradictions
from agent.core.units import quantity

FILE_BYTES_MAX = 4 * 1024 * 1024
NODES_MAX = 200_000

OVERRIDES = {
    "PILOTFISH_AGENT_ID": ("agent", "id"),
    "PILOTFISH_AGENT_REGION": ("agent", "region"),
    "PILOTFISH_AGENT_ZONE": ("agent", "zone"),
    "PILOTFISH_LISTEN_EGRESS": ("listen", "egress"),
    "PILOTFISH_LISTEN_INGRESS": ("listen", "ingress"),
    "PILOTFISH_LISTEN_TRANSPARENT": ("listen", "transparent"),
    "PILOTFISH_LISTEN_ADMIN": ("listen", "admin"),
    "PILOTFISH_LOG_LEVEL": ("log", "level"),
}
"""What differs from pod to pod; everything else belongs in the file."""
OTHER_VARIABLES = frozenset({"PILOTFISH_CONFIG", "PILOTFISH_TEST_BUILD"})


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


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds all that is wrong with it."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: ``on`` and ``yes`` are text, ``1:30`` is no number."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("tag:yaml.org,2002:float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first) + ([""] if "null" in _tag else []))


def load(path: Path, environ: Mapping[str, str]) -> Settings:
    """Read, check and complete a configuration. Raises `ConfigError` with every problem."""
    source = str(path)
    try:
        size = path.stat().st_size
        if size > FILE_BYTES_MAX:
            raise ConfigError(source, [Problem("", f"found {size} bytes, expected at most {FILE_BYTES_MAX}")])
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise ConfigError(source, [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(source, [Problem("", f"is not UTF-8: byte {error.start}")]) from error
    return _settled(parse(text, environ, source), path.parent)


def _settled(settings: Settings, directory: Path) -> Settings:
    """With paths of plugins that start at the file's directory made whole."""
    replace = msgspec.structs.replace
    plugins = tuple(replace(plugin, path=str(directory / plugin.path)) if plugin.path else plugin for plugin in settings.plugins)
    return replace(settings, plugins=plugins) if plugins else settings


def parse(text: str, environ: Mapping[str, str], source: str = "configuration") -> Settings:
    """`load` from text."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(source, [Problem("", f"is not YAML: {error.problem}", mark.line + 1 if mark else 0)]) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [Problem("", f"is not YAML: {error}")]) from error
    walker = _Walker()
    document = walker.read(node, Settings, "") if node is not None else {}
    if document is None:
        document = {}
    problems = walker.problems
    if isinstance(document, dict):
        problems.extend(_override(document, environ))
    if not problems:
        try:
            settings = msgspec.convert(document, Settings)
        except msgspec.ValidationError as error:  # a rule of a type that the walk does not know
            message, _, where = str(error).partition(" - at `$")
            problems.append(Problem(where.rstrip("`").lstrip("."), message))
        else:
            problems.extend(Problem(where, message, walker.lines.get(where, 0)) for where, message in contradictions(settings))
            if not problems:
                return settings
    raise ConfigError(source, sorted(problems, key=lambda problem: (problem.line, problem.path)))


def _override(document: dict[str, Any], environ: Mapping[str, str]) -> list[Problem]:
    problems = []
    for name, value in sorted(environ.items()):
        if not name.startswith("PILOTFISH_") or name in OTHER_VARIABLES:
            continue
        place = OVERRIDES.get(name)
        if place is None:
            near = difflib.get_close_matches(name, OVERRIDES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            problems.append(Problem(f"${name}", f"no such override{hint} There are {', '.join(OVERRIDES)}"))
            continue
        section = document.setdefault(place[0], {})
        if isinstance(section, dict):
            section[place[1]] = value
    return problems


class _Walker:
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
            return _Loader("").construct_document(node)
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
        hints = typing.get_type_hints(kind, include_extras=True)
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at = f"{path}.{key}" if path else key
            if key in found:
                self._bad(at, key_node, "the key is there twice")
            elif key not in hints:
                near = difflib.get_close_matches(key, list(hints), 1)
                hint = f"; did you mean {near[0]}?" if near else f", expected one of {', '.join(sorted(hints))}"
                self._bad(at, key_node, f"unknown key{hint}")
            else:
                found[key] = self.read(value_node, hints[key], at)
        for field in msgspec.structs.fields(kind):
            if field.required and field.name not in found:
                self._bad(f"{path}.{field.name}" if path else field.name, node, "is missing")
        return found

    def _mapping(self, node: yaml.Node, kind: Any, path: str) -> Any:
        if not isinstance(node, yaml.MappingNode):
            if node.tag == "tag:yaml.org,2002:null":
                return {}
            self._bad(path, node, f"found {_shown(node)}, expected a mapping")
            return None
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at = f"{path}.{key}"
            if key in found:
                self._bad(at, key_node, "the key is there twice")
            found[key] = self.read(value_node, kind, at)
        return found

    def _scalar(self, node: yaml.Node, kind: Any, path: str, unit: str) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            self._bad(path, node, f"found {_shown(node)}, expected {_called(kind, unit)}")
            return None
        text = node.value
        tag = node.tag.rpartition(":")[2]
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
        if kind is str and (tag == "str" or node.style in ("'", '"')):
            return text
        if kind is bool and tag == "bool":
            return text.lower() == "true"
        if kind is int and tag == "int":
            return int(text, 0) if text.lower().startswith("0x") or text.startswith("0o") else int(text)
        if kind is float and tag in ("int", "float"):
            return float(text)
        if kind is str and tag in ("int", "float"):
            self._bad(path, node, f"found the number {text}, expected text: put it in quotes")
            return None
        self._bad(path, node, f"found {_shown(node)}, expected {_called(kind, unit)}")
        return None

    def _bounded(self, node: yaml.Node, value: Any, meta: msgspec.Meta, path: str) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):
            if meta.ge is not None and value < meta.ge:
                self._bad(path, node, f"found {node.value}, expected at least {meta.ge}")
            if meta.le is not None and value > meta.le:
                self._bad(path, node, f"found {node.value}, expected at most {meta.le}")
        return value


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


def compare(old: Settings, new: Settings) -> tuple[list[str], list[str]]:
    """What changed, and what of it needs a restart: two lists of paths."""
    changed: list[str] = []
    refused: list[str] = []
    for section in Settings.__struct_fields__:
        before, after = getattr(old, section), getattr(new, section)
        if before == after:
            continue
        if isinstance(before, dict):
            names = sorted(set(before) | set(after))
            changed.extend(f"{section}.{name}" for name in names if before.get(name) != after.get(name))
        elif isinstance(before, msgspec.Struct) and isinstance(after, msgspec.Struct):
            for field in before.__struct_fields__:
                if getattr(before, field) != getattr(after, field):
                    changed.append(f"{section}.{field}")
        else:
            changed.append(section)
    for path in changed:
        if path.split(".")[0] in ("agent", "listen", "plugins") or path in ("cache.policy", "application"):
            refused.append(path)
    return changed, refused


_SECRET = re.compile(r"secret|password|token|key", re.IGNORECASE)


def redacted(settings: Settings) -> dict[str, Any]:
    """The running configuration for people: plugins' secrets are not shown."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    for plugin in plain["plugins"]:
        plugin["config"] = _hide(plugin["config"])
    return plain


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if _SECRET.search(str(key)) else _hide(item) for key, item in value.items()}
    return [_hide(item) for item in value] if isinstance(value, list) else value
