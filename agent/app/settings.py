"""From a YAML file and the environment to `Settings`, or to every problem with them at once.

The only reader of YAML and of the environment. The document is walked as nodes, beside the types, so that each problem
knows its path (``services.web.endpoints[0]``) and line, and so that one wrong value does not hide the next.
"""

import difflib
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agent.app.config import Settings
from agent.app.validate import contradictions
from agent.app.yaml_walk import Loader, Problem, Walker, hints_of

FILE_BYTES_MAX = 4 * 1024 * 1024

OVERRIDES = {
    "PILOTFISH_AGENT_ID": ("agent", "id"),
    "PILOTFISH_AGENT_REGION": ("agent", "region"),
    "PILOTFISH_AGENT_ZONE": ("agent", "zone"),
    "PILOTFISH_LISTEN_EGRESS": ("listen", "egress"),
    "PILOTFISH_LISTEN_INGRESS": ("listen", "ingress"),
    "PILOTFISH_LISTEN_TRANSPARENT": ("listen", "transparent"),
    "PILOTFISH_LISTEN_ADMIN": ("listen", "admin"),
    "PILOTFISH_LOG_LEVEL": ("log", "level"),
    "PILOTFISH_CLUSTER_BIND": ("cluster", "bind"),
    "PILOTFISH_CLUSTER_ADVERTISE": ("cluster", "advertise"),
    "PILOTFISH_CLUSTER_SEEDS": ("cluster", "seeds"),
    "PILOTFISH_CLUSTER_WAN_BIND": ("cluster.wan", "bind"),
    "PILOTFISH_CONSENSUS_BIND": ("consensus", "bind"),
    "PILOTFISH_CONSENSUS_ADVERTISE": ("consensus", "advertise"),
    "PILOTFISH_CONSENSUS_DATA": ("consensus", "data"),
}
"""What differs from pod to pod; everything else belongs in the file."""
OPTIONAL = frozenset({"cluster", "cluster.wan", "consensus"})
"""Sections that the environment adds to and does not make."""
CLUSTER_LIVE = frozenset({"cluster.keys", "cluster.tags", "cluster.keep_endpoints"})
"""What of the cluster changes while it runs."""
OTHER_VARIABLES = frozenset({"PILOTFISH_CONFIG", "PILOTFISH_TEST_BUILD", "PILOTFISH_API", "PILOTFISH_ADMIN"})
"""The last two are for the applications in the same pod (`agent.client`)."""
_SERVICE_LINK = re.compile(
    r"PILOTFISH_(?:.+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)?)"
)
"""What Kubernetes puts into every container's environment for a Service called pilotfish or pilotfish-…: not meant for the agent."""


class ConfigError(Exception):
    """A configuration that cannot be used; `problems` holds all that is wrong with it."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))
        self.source = source
        self.problems = problems


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
        node = yaml.compose(text, Loader=Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise ConfigError(source, [Problem("", f"is not YAML: {error.problem}", mark.line + 1 if mark else 0)]) from error
    except yaml.YAMLError as error:
        raise ConfigError(source, [Problem("", f"is not YAML: {str(error).splitlines()[0]}")]) from error
    except (RecursionError, UnicodeEncodeError) as error:
        raise ConfigError(source, [Problem("", "is not YAML: nested too deeply, or with characters that are none")]) from error
    walker = Walker()
    document = (walker.read(node, Settings, "") if node is not None else {}) or {}
    origins = _override(walker, document, environ)
    problems = walker.problems
    try:
        settings = msgspec.convert(document, Settings)
    except msgspec.ValidationError as error:
        if not problems:  # a rule of a type that the walk does not know
            message, _, where = str(error).partition(" - at `$")
            problems.append(Problem(where.rstrip("`").lstrip("."), message))
    else:
        unsure = {_section(problem.path) for problem in problems}
        for where, message in contradictions(settings):
            if _section(where) not in unsure:
                hint = f" (from ${origins[where]})" if where in origins else ""
                problems.append(Problem(where, message + hint, _line(walker.lines, where)))
        if not problems:
            return settings
    raise ConfigError(source, sorted(problems, key=lambda problem: (problem.line, problem.path)))


def _section(path: str) -> str:
    """What is judged as one: where a part of it could not be read, contradictions in it may only seem to be ones."""
    parts = path.split(".")
    if parts[0] in ("application", "listen"):
        return "listen"
    return ".".join(parts[:2]) if parts[0] == "services" else parts[0]


def _line(lines: Mapping[str, int], path: str) -> int:
    """The line of a path, or of the nearest that is in the file and holds it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 0) if path else 0


def _override(walker: Walker, document: dict[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Put the environment's values into the document. The result tells which path came from which variable."""
    origins = {}
    for name, text in sorted(environ.items()):
        if not name.startswith("PILOTFISH_") or name in OTHER_VARIABLES or _SERVICE_LINK.fullmatch(name):
            continue
        place = OVERRIDES.get(name)
        if place is None:
            near = difflib.get_close_matches(name, OVERRIDES, 1, 0.8)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(OVERRIDES)}"
            walker.problems.append(Problem(f"${name}", f"no such override; {hint}"))
            continue
        section, field = place
        values: Any = document
        kind: Any = Settings
        for part in section.split("."):
            kind = _struct_of(hints_of(kind)[part])
            if section not in OPTIONAL:
                document.setdefault(part, {})
            values = values.get(part) if isinstance(values, dict) else None
        if section in OPTIONAL and not isinstance(values, dict):
            walker.problems.append(Problem(f"${name}", f"is for an agent with {section}, and the file has none"))
            continue
        kind = hints_of(kind)[field]
        if typing.get_origin(kind) is tuple:
            value: Any = [part.strip() for part in text.split(",") if part.strip()]
        else:
            value = walker.read_text(text, kind, f"${name}")
        if isinstance(values, dict) and value is not None:
            values[field] = value
            origins[f"{section}.{field}"] = name
    return origins


def _struct_of(kind: Any) -> Any:
    """A section's type; of one that may be absent, the type that it has where it is there."""
    return next((part for part in typing.get_args(kind) if part is not type(None)), kind)


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
        section = path.split(".")[0]
        if section == "cluster":
            refused += [] if path in CLUSTER_LIVE else [path]
        elif section in ("agent", "listen", "plugins", "consensus") or path in ("cache.policy", "application"):
            refused.append(path)
    return changed, refused


_SECRET = re.compile(r"secret|password|passwd|token|key|credential|auth|cookie", re.IGNORECASE)
_HEADER_RULES = frozenset({"request_headers", "response_headers", "headers"})


def redacted(settings: Settings) -> dict[str, Any]:
    """The running configuration for people: secrets of plugins and in header rules are not shown."""
    plain: dict[str, Any] = msgspec.to_builtins(settings)
    for plugin in plain["plugins"]:
        plugin["config"] = _hide(plugin["config"])
    if plain["cluster"] is not None:
        plain["cluster"]["keys"] = ["***"] * len(plain["cluster"]["keys"])
    for service in [*plain["services"].values(), plain["application"] or {}]:
        _hide_headers(service)
    return plain


def _hide_headers(service: dict[str, Any]) -> None:
    for part in [service, *service.get("routes", ()), *(route["match"] for route in service.get("routes", ()))]:
        for rules in _HEADER_RULES.intersection(part):
            part[rules] = _hide(part[rules])


def _hide(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: "***" if _SECRET.search(str(key)) and not isinstance(item, dict) else _hide(item) for key, item in value.items()}
    return [_hide(item) for item in value] if isinstance(value, list | tuple) else value
