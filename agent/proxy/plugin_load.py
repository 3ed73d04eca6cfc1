"""Finding plugins and building them from their configuration: bundled, installed (entry points), or from a file."""

import importlib
import importlib.util
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

from agent.core.units import with_numbers
from agent.hooks import HOOKS, Plugin

GROUP: Final = "pilotfish.plugins"
BUNDLED: Final = "plugins"
"""The package whose subpackages are the bundled plugins; found in a source checkout without being installed."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class PluginError(Exception):
    """A plugin cannot be loaded or configured; `path` is where in the configuration."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


def find_plugin_class(name: str, path: str, at: str) -> type[Plugin]:
    """The class of a plugin: from `path` where it is given, else bundled, else installed. Raises `PluginError`.

    path: ``file.py``, ``package_directory`` or either with ``:Class`` behind it; at: where in the configuration it is named.
    """
    if path:
        return _from_path(name, path, f"{at}.path")
    at = f"{at}.name"
    if _NAME.fullmatch(name) is None:
        raise PluginError(at, f"found {name!r}, expected letters, digits, - and _")
    if name.replace("-", "_") in bundled_names():
        return _class_of(_imported(f"{BUNDLED}.{name.replace('-', '_')}", at), "", at)
    points = installed()
    found = [point for point in points if point.name == name]
    if not found:
        known = sorted({*bundled_names(), *(point.name for point in points)})
        raise PluginError(at, f"found {name!r}, expected one of {', '.join(known)}, or a path")
    if len({point.value for point in found}) > 1:
        raise PluginError(at, f"{name!r} is installed by several distributions: {', '.join(sorted(point.value for point in found))}")
    try:
        loaded = found[0].load()
    except BaseException as error:
        raise PluginError(at, f"{name!r} does not load: {error!r}") from error
    return _checked(loaded, repr(name), at)


def installed() -> list[Any]:
    """The entry points of installed plugins. An agent without plugins does not load what it takes to look for them."""
    from importlib.metadata import entry_points

    return list(entry_points(group=GROUP))


def bundled_names() -> list[str]:
    """The plugins that come with the agent."""
    spec = importlib.util.find_spec(BUNDLED)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    return sorted(found.parent.name for place in places for found in Path(place).glob("*/__init__.py"))


def _from_path(name: str, path: str, at: str) -> type[Plugin]:
    file, colon, wanted = path.rpartition(":")
    if not colon or not wanted.isidentifier():
        file, wanted = path, ""
    place = Path(file)
    if place.is_dir():
        place = place / "__init__.py"
    if not place.is_file():
        raise PluginError(at, f"found {path!r}, expected a Python file or a package's directory, if need be with :Class")
    module_name = "pilotfish_plugin_" + re.sub(r"\W", "_", name)
    package = [str(place.parent)] if place.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(module_name, place, submodule_search_locations=package)
    if spec is None or spec.loader is None:
        raise PluginError(at, f"found {path!r}, expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # a struct's annotations and a package's own imports are looked up by this name
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        raise PluginError(at, f"{file} does not load: {error!r}") from error
    return _class_of(module, wanted, at)


def _imported(name: str, at: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except BaseException as error:
        raise PluginError(at, f"{name} does not load: {error!r}") from error


def _class_of(module: ModuleType, wanted: str, at: str) -> type[Plugin]:
    if wanted:
        if not hasattr(module, wanted):
            raise PluginError(at, f"{module.__file__} has no {wanted}")
        return _checked(getattr(module, wanted), wanted, at)
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Plugin) and (value.__module__ + ".").startswith(module.__name__ + ".")
    ]
    if len(own) == 1:
        return _checked(own[0], own[0].__name__, at)
    if own:
        names = ", ".join(sorted(value.__name__ for value in own))
        raise PluginError(at, f"{module.__file__} has several plugins ({names}): name one, path:Class")
    raise PluginError(at, f"{module.__file__} has no subclass of agent.hooks.Plugin")


def _checked(found: Any, called: str, at: str) -> type[Plugin]:
    if not (isinstance(found, type) and issubclass(found, Plugin) and found is not Plugin):
        raise PluginError(at, f"{called} is not a subclass of agent.hooks.Plugin")
    for hook in HOOKS:
        if inspect.iscoroutinefunction(getattr(found, hook)):
            raise PluginError(at, f"{found.__name__}.{hook} is async, expected a plain function: slow work goes to Context.background")
    return found


def build_plugin(config: Any, at: str) -> Plugin:
    """A plugin from its configuration, checked. Raises `PluginError`."""
    cls = find_plugin_class(config.name, config.path, at)
    try:
        own = msgspec.convert(with_numbers(config.config, cls.Config), cls.Config)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `")
        raise PluginError(f"{at}.config{where.rstrip('`').lstrip('$')}", message) from error
    except Exception as error:
        raise PluginError(f"{at}.config", f"the type of {config.name}'s configuration is not usable: {error!r}") from error
    try:
        return cls(own)
    except ValueError as error:
        field, colon, message = str(error).partition(": ")
        if colon and re.fullmatch(r"[\w.\[\]-]+", field):
            raise PluginError(f"{at}.config.{field}", message) from error
        raise PluginError(f"{at}.config", str(error)) from error
    except BaseException as error:
        raise PluginError(f"{at}.config", f"{config.name} refuses its configuration: {error!r}") from error
