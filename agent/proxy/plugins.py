"""Runs plugins: finds and checks them, calls their hooks, counts their faults, and switches off what keeps failing."""

import asyncio
import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import entry_points
from time import perf_counter
from typing import Any, Final

import msgspec

from agent import hooks
from agent.core.http.fields import Field, make_field
from agent.core.http.head import RequestHead, ResponseHead
from agent.core.routing import endpoint as outcome
from agent.hooks import HOOKS, Answer, CacheStoreView, Plugin, RequestChanges, RequestView, ResponseView, UpstreamResult

GROUP: Final = "pilotfish.plugins"
BACKGROUND_MAX: Final = 1000
WORKERS: Final = 2

Log = Callable[..., None]
Sender = Callable[[str, str, str, Mapping[str, str], bytes], bool]


class PluginError(Exception):
    """A plugin cannot be loaded or configured; `path` is where in the configuration."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class RequiredPluginFault(Exception):
    """A plugin that was marked required failed on a request."""


class Loaded:
    """One plugin and its record."""

    def __init__(self, name: str, plugin: Plugin, required: bool, budget_s: float, faults_max: int) -> None:
        self.name = name
        self.plugin = plugin
        self.required = required
        self.budget_s = budget_s
        self.faults_max = faults_max
        self.calls = 0
        self.faults = 0
        self.slow = 0
        self.consecutive = 0
        self.time_s = 0.0
        self.enabled = True
        self.last_fault = ""

    def overrides(self, hook: str) -> bool:
        return getattr(type(self.plugin), hook) is not getattr(Plugin, hook)


def find_plugin_class(name: str, path: str, at: str) -> type[Plugin]:
    """The class of a plugin, by file or entry point. Raises `PluginError`."""
    if path:
        spec = importlib.util.spec_from_file_location(f"pilotfish_plugin_{name.replace('-', '_')}", path)
        if spec is None or spec.loader is None:
            raise PluginError(f"{at}.path", f"found {path!r}, expected a Python file")
        module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise PluginError(f"{at}.path", f"{path} does not load: {error!r}") from error
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin:
                return value
        raise PluginError(f"{at}.path", f"{path} has no subclass of agent.hooks.Plugin")
    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        try:
            module = importlib.import_module(f"plugins.{name.replace('-', '_')}")
        except ImportError:
            known = ", ".join(sorted(point.name for point in entry_points(group=GROUP))) or "none installed"
            raise PluginError(f"{at}.name", f"found {name!r}, expected an installed plugin ({known}) or a path") from None
        return _only_class(module, at)
    try:
        loaded = found[0].load()
    except Exception as error:
        raise PluginError(f"{at}.name", f"{name!r} does not load: {error!r}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Plugin)):
        raise PluginError(f"{at}.name", f"{name!r} is not a subclass of agent.hooks.Plugin")
    return loaded


def _only_class(module: Any, at: str) -> type[Plugin]:
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Plugin) and value is not Plugin:
            return value
    raise PluginError(f"{at}.name", f"{module.__name__} has no subclass of agent.hooks.Plugin")


def build_plugin(config: Any, at: str) -> Plugin:
    """A plugin from its configuration, checked. Raises `PluginError`."""
    cls = find_plugin_class(config.name, config.path, at)
    try:
        own = msgspec.convert(config.config, cls.Config, strict=False)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise PluginError(f"{at}.config{where.rstrip('`')}", message) from error
    try:
        return cls(own)
    except Exception as error:
        raise PluginError(f"{at}.config", f"{config.name} refuses its configuration: {error}") from error


class PluginHost:
    """All loaded plugins. Each tuple of hooks is empty where no plugin has that hook, so that asking costs one test."""

    def __init__(self, log: Log) -> None:
        self.loaded: list[Loaded] = []
        self.agent_id = ""
        self.request_hooks: tuple[Loaded, ...] = ()
        self.route_hooks: tuple[Loaded, ...] = ()
        self.response_hooks: tuple[Loaded, ...] = ()
        self.upstream_hooks: tuple[Loaded, ...] = ()
        self.store_hooks: tuple[Loaded, ...] = ()
        self.tick_hooks: tuple[Loaded, ...] = ()
        self.background_dropped = 0
        self.background_faults = 0
        self.sender: Sender | None = None
        self._log = log
        self._queue: asyncio.Queue[tuple[Loaded, Any, tuple[Any, ...]]] | None = None
        self._workers: list[asyncio.Task[None]] = []

    def load(self, configs: tuple[Any, ...]) -> None:
        """Build every configured plugin. Raises `PluginError` at the first that cannot be."""
        loaded = []
        for index, config in enumerate(configs):
            plugin = build_plugin(config, f"plugins[{index}]")
            loaded.append(Loaded(config.name, plugin, config.required, config.budget, config.faults_max))
        self.loaded = loaded
        self._sort()

    def _sort(self) -> None:
        live = [entry for entry in self.loaded if entry.enabled]
        self.request_hooks = tuple(entry for entry in live if entry.overrides("on_request"))
        self.route_hooks = tuple(entry for entry in live if entry.overrides("on_route"))
        self.response_hooks = tuple(entry for entry in live if entry.overrides("on_response"))
        self.upstream_hooks = tuple(entry for entry in live if entry.overrides("on_upstream_result"))
        self.store_hooks = tuple(entry for entry in live if entry.overrides("on_cache_store"))
        self.tick_hooks = tuple(entry for entry in live if entry.overrides("on_tick"))

    def start(self, agent_id: str) -> None:
        """Start every plugin and the workers behind them."""
        self.agent_id = agent_id
        if self.loaded:
            self._queue = asyncio.Queue(BACKGROUND_MAX)
            self._workers = [asyncio.get_running_loop().create_task(self._work(self._queue)) for _ in range(WORKERS)]
        for index, entry in enumerate(self.loaded):
            try:
                entry.plugin.start(PluginContext(self, entry))
            except Exception as error:
                raise PluginError(f"plugins[{index}]", f"{entry.name} did not start: {error}") from error

    async def stop(self) -> None:
        """Stop workers and plugins; a plugin that fails to stop is logged."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for entry in self.loaded:
            try:
                entry.plugin.stop()
            except Exception as error:
                self._log("plugin did not stop", plugin=entry.name, error=repr(error))

    async def _work(self, queue: "asyncio.Queue[tuple[Loaded, Any, tuple[Any, ...]]]") -> None:
        while True:
            entry, work, args = await queue.get()
            try:
                await work(*args)
            except Exception as error:
                self.background_faults += 1
                self._log("plugin's background work failed", plugin=entry.name, error=repr(error))

    def enqueue(self, entry: Loaded, work: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> bool:
        """Put work on the background queue; False (and counted) where it is full."""
        if self._queue is None or self._queue.full():
            self.background_dropped += 1
            return False
        self._queue.put_nowait((entry, work, args))
        return True

    def call(self, entry: Loaded, hook: Any, *args: Any) -> Any:
        """One call of one hook: counted, timed, and isolated."""
        started = perf_counter()
        entry.calls += 1
        try:
            result = hook(*args)
        except Exception as error:
            self._fault(entry, repr(error))
            if entry.required:
                raise RequiredPluginFault(f"required plugin {entry.name} failed: {error!r}") from error
            return None
        elapsed = perf_counter() - started
        entry.time_s += elapsed
        if elapsed > entry.budget_s:
            entry.slow += 1
            self._fault(entry, f"took {elapsed * 1000:.1f} ms, its budget is {entry.budget_s * 1000:.1f} ms")
        elif entry.consecutive:
            entry.consecutive = 0
        return result

    def _fault(self, entry: Loaded, what: str) -> None:
        entry.faults += 1
        entry.consecutive += 1
        entry.last_fault = what
        if entry.consecutive >= entry.faults_max and entry.enabled and not entry.required:
            entry.enabled = False
            self._sort()
            self._log("plugin switched off", plugin=entry.name, consecutive_faults=entry.consecutive, last=what)

    # -- hooks, as the data path calls them

    def on_request(self, view: RequestView) -> Answer | list[RequestChanges] | None:
        """The first answer, or all changes. Raises `RequiredPluginFault`."""
        changes: list[RequestChanges] = []
        for entry in self.request_hooks:
            result = self.call(entry, entry.plugin.on_request, view)
            if isinstance(result, Answer):
                return result
            if isinstance(result, RequestChanges):
                changes.append(result)
        return changes or None

    def on_route(self, view: RequestView) -> str:
        """The service that a plugin names, or empty."""
        for entry in self.route_hooks:
            service = self.call(entry, entry.plugin.on_route, view)
            if isinstance(service, str) and service:
                return service
        return ""

    def on_response(
        self, head: RequestHead, client: bytes, service: str, route: str, status: int, response: ResponseHead | None
    ) -> tuple[list[Field], frozenset[bytes]]:
        """Fields to set on a response and names to remove (those set among them)."""
        view = RequestView(head, client, service, route)
        seen = ResponseView(status, response, response is None)
        fields: list[Field] = []
        dropped: set[bytes] = set()
        for entry in self.response_hooks:
            result = self.call(entry, entry.plugin.on_response, view, seen)
            if isinstance(result, hooks.ResponseChanges):
                own = self.fields_of(entry, result.set_headers)
                dropped.update(field.name for field in own)
                dropped.update(name.lower().encode("latin-1", "replace") for name in result.remove_headers)
                fields = [field for field in fields if field.name not in dropped] + own
        return fields, frozenset(dropped)

    def upstream_result(self, service: str, endpoint: str, code: int, latency_s: float, attempt: int) -> None:
        result = UpstreamResult(service, endpoint, outcome.NAMES[code], latency_s, attempt)
        for entry in self.upstream_hooks:
            self.call(entry, entry.plugin.on_upstream_result, result)

    def may_store(self, service: str, host: bytes, target: bytes, status: int, ttl_s: float) -> bool:
        view = CacheStoreView(service, host.decode("latin-1"), target.decode("latin-1"), status, ttl_s)
        return all(self.call(entry, entry.plugin.on_cache_store, view) is not False for entry in self.store_hooks)

    def tick(self, now: float) -> None:
        for entry in self.tick_hooks:
            self.call(entry, entry.plugin.on_tick, now)

    def fields_of(self, entry: Loaded | None, headers: Mapping[str, str]) -> list[Field]:
        """Headers of a plugin as fields; one that is not legal is left out and counted as a fault."""
        fields = []
        for name, value in headers.items():
            try:
                fields.append(make_field(name.encode("latin-1"), value.encode("latin-1")))
            except Exception as error:
                if entry is not None:
                    self._fault(entry, f"header {name!r}: {error}")
        return fields

    def snapshot(self) -> list[dict[str, Any]]:
        """Every plugin's record, for metrics and the admin API."""
        return [
            {
                "name": entry.name,
                "enabled": entry.enabled,
                "required": entry.required,
                "calls": entry.calls,
                "faults": entry.faults,
                "slow": entry.slow,
                "last_fault": entry.last_fault,
                "mean_us": round(entry.time_s / entry.calls * 1e6, 2) if entry.calls else 0.0,
                "hooks": [hook for hook in HOOKS if entry.overrides(hook)],
            }
            for entry in self.loaded
        ]


class PluginContext:
    """`agent.hooks.Context` for one plugin."""

    def __init__(self, host: PluginHost, entry: Loaded) -> None:
        self._host = host
        self._entry = entry
        self.agent_id = host.agent_id

    def background(self, work: Callable[..., Awaitable[None]], *args: Any) -> bool:
        return self._host.enqueue(self._entry, work, args)

    def send(self, service: str, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bool:
        sender = self._host.sender
        return sender is not None and sender(service, method, target, headers, body)

    def log(self, event: str, **details: Any) -> None:
        self._host._log(event, plugin=self._entry.name, **details)
