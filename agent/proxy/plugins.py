"""Runs plugins: calls their hooks, counts their faults, and switches off what keeps failing.

Whatever a plugin does, raising SystemExit included, stays in here; only the fault of one that is marked required gets out, as
`RequiredPluginFault`, and fails the request.
"""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from traceback import extract_tb
from typing import Any, Final

from agent.core.http.fields import Field
from agent.core.http.head import RequestHead
from agent.core.routing import endpoint as outcome
from agent.hooks import HOOKS, Answer, CacheStoreView, RequestChanges, RequestView, ResponseChanges, ResponseView, UpstreamResult
from agent.proxy.changes import BodyCopy, Decision, names, response_fields
from agent.proxy.plugin_load import PluginError, build_plugin
from agent.proxy.plugin_record import Backlog, Loaded
from agent.proxy.story import Story

STOP_S: Final = 2.0
"""How long background work that still waits is given at the end."""

Log = Callable[..., None]
Sender = Callable[[str, str, str, Mapping[str, str], bytes], bool]


class RequiredPluginFault(Exception):
    """A plugin that was marked required failed on a request."""


class PluginHost:
    """All loaded plugins. Each tuple of hooks is empty where no plugin has that hook, so that asking costs one test."""

    def __init__(self, log: Log, info: Log | None = None) -> None:
        self.loaded: list[Loaded] = []
        self.agent_id = ""
        self.request_hooks: tuple[Loaded, ...] = ()
        self.route_hooks: tuple[Loaded, ...] = ()
        self.response_hooks: tuple[Loaded, ...] = ()
        self.upstream_hooks: tuple[Loaded, ...] = ()
        self.store_hooks: tuple[Loaded, ...] = ()
        self.tick_hooks: tuple[Loaded, ...] = ()
        self.sender: Sender | None = None
        self.services: Mapping[str, object] = {}
        """The services there are; swapped at a reload."""
        self._log = log
        self.info = info or log

    def load(self, configs: tuple[Any, ...]) -> None:
        """Build every configured plugin. Raises `PluginError` with all that is wrong."""
        loaded: list[Loaded] = []
        problems: list[PluginError] = []
        for index, config in enumerate(configs):
            try:
                plugin = build_plugin(config, f"plugins[{index}]")
            except PluginError as error:
                problems.append(error)
                continue
            loaded.append(Loaded(config.name, plugin, config.required, config.budget, config.faults_max))
        if problems:
            first, *others = problems
            raise PluginError(first.path, "; ".join([first.message, *map(str, others)]))
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

    # -- lifecycle

    def start(self, agent_id: str) -> None:
        """Start every plugin. Raises `PluginError` at the first that refuses."""
        self.agent_id = agent_id
        for index, entry in enumerate(self.loaded):
            try:
                entry.plugin.start(PluginContext(self, entry))
            except BaseException as error:
                raise PluginError(f"plugins[{index}]", f"{entry.name} did not start: {error!r}") from error
            self.info("plugin started", plugin=entry.name, hooks=[hook for hook in HOOKS if entry.overrides(hook)])

    async def stop(self) -> None:
        """Stop every plugin, then finish or drop the background work; a plugin that fails to stop is logged."""
        for entry in self.loaded:
            try:
                entry.plugin.stop()
            except BaseException as error:
                self._log("plugin did not stop", plugin=entry.name, error=repr(error))
        for entry in self.loaded:
            if entry.backlog is not None:
                await entry.backlog.finish(STOP_S)

    def enqueue(self, entry: Loaded, work: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> bool:
        """Put work behind the requests; False (and counted) where the plugin's queue is full or the plugin is off."""
        if entry.backlog is None:
            entry.backlog = Backlog(entry, self.fault)
        if entry.enabled and entry.backlog.put(work, args):
            return True
        entry.background_dropped += 1
        return False

    # -- one call, one fault

    def call(self, entry: Loaded, hook: Any, *args: Any) -> Any:
        """One call of one hook: counted, timed, and isolated. Raises `RequiredPluginFault`."""
        started = perf_counter()
        entry.calls += 1
        try:
            result = hook(*args)
        except BaseException as error:
            self._refuse(entry, hook.__name__, error)
            return None
        elapsed = perf_counter() - started
        entry.time_s += elapsed
        if elapsed > entry.budget_s:
            entry.slow += 1
            self.fault(entry, f"{hook.__name__} took {elapsed * 1000:.1f} ms, its budget is {entry.budget_s * 1000:.1f} ms")
        elif entry.strikes:
            entry.was_good()
        return result

    def _refuse(self, entry: Loaded, hook: str, error: BaseException) -> None:
        last = extract_tb(error.__traceback__)[-1]
        what = f"{hook}: {error!r} at {last.filename}:{last.lineno}"
        self.fault(entry, what)
        if entry.required:
            raise RequiredPluginFault(f"required plugin {entry.name} failed in {hook}") from error

    def fault(self, entry: Loaded, what: str) -> None:
        """Count a fault; log the first, the second, the fourth and so on; switch the plugin off at its limit."""
        entry.faults += 1
        entry.strikes += 1
        entry.last_fault = what
        if entry.faults & (entry.faults - 1) == 0:
            self._log("plugin fault", plugin=entry.name, faults=entry.faults, fault=what)
        if entry.strikes >= entry.faults_max and entry.enabled and not entry.required:
            entry.enabled = False
            self._sort()
            self._log("plugin switched off", plugin=entry.name, faults=entry.faults, last=what)

    # -- hooks, as the data path calls them

    def decide(self, head: RequestHead, client: bytes, service: str, route: str, listener: str, story: Story | None) -> Decision:
        """What on_request and on_route make of a request. Raises `RequiredPluginFault`."""
        decision = Decision(head)
        sender = client.decode("latin-1")
        view = RequestView(head, sender, service, route, listener)
        for entry in self.request_hooks:
            result = self.call(entry, entry.plugin.on_request, view)
            if result is None:
                continue
            try:
                if isinstance(result, Answer):
                    decision.take_answer(result)
                    _note(story, entry, f"answered {result.status}: {result.reason}")
                    return decision
                if not isinstance(result, RequestChanges):
                    raise TypeError(f"returned {type(result).__name__}, expected Answer, RequestChanges or None")
                _note(story, entry, "changed the request")
                if decision.take_changes(entry, result, self.services):
                    view = RequestView(decision.head, sender, service, route, listener)
            except Exception as error:
                self._refuse(entry, "on_request", error)
        if self.route_hooks and not decision.service:
            decision.service = self._route(view, story)
        decision.view = view
        return decision

    def _route(self, view: RequestView, story: Story | None) -> str:
        for entry in self.route_hooks:
            service = self.call(entry, entry.plugin.on_route, view)
            if service is None or service == "":
                continue
            if isinstance(service, str) and service in self.services:
                _note(story, entry, f"chose {service}")
                return service
            self._refuse(entry, "on_route", ValueError(f"named {service!r}, which is no configured service"))
        return ""

    def copy_of_body(self, decision: Decision) -> BodyCopy:
        """Where to put the body that plugins asked for."""
        return BodyCopy(self, decision.view, decision.wants)

    def request_body(self, entry: Loaded, view: RequestView, body: bytes | None) -> None:
        if entry.enabled:
            self._isolated(entry, entry.plugin.on_request_body, view, body)

    def on_response(self, view: RequestView, fields: list[Field], status: int, cached: bool) -> tuple[list[Field], frozenset[bytes]]:
        """Fields to set on a response and names to remove (those set among them). Raises `RequiredPluginFault`."""
        seen = ResponseView(fields, status, cached)
        added: list[Field] = []
        dropped: set[bytes] = set()
        for entry in self.response_hooks:
            result = self.call(entry, entry.plugin.on_response, view, seen)
            if result is None:
                continue
            try:
                if not isinstance(result, ResponseChanges):
                    raise TypeError(f"returned {type(result).__name__}, expected ResponseChanges or None")
                own = response_fields(result.set_headers)
                removed = names(tuple(result.remove_headers))
            except Exception as error:
                self._refuse(entry, "on_response", error)
                continue
            replaced = removed | {field.name for field in own}
            dropped |= replaced
            added = [field for field in added if field.name not in replaced] + own
        return added, frozenset(dropped)

    def upstream_result(self, service: str, endpoint: str, code: int, latency_s: float, attempt: int) -> None:
        result = UpstreamResult(service, endpoint, outcome.NAMES[code], latency_s, attempt)
        for entry in self.upstream_hooks:
            self._isolated(entry, entry.plugin.on_upstream_result, result)

    def may_store(self, service: str, host: bytes, target: bytes, status: int, ttl_s: float) -> bool:
        """False where a plugin keeps the response out, or a required one failed."""
        view = CacheStoreView(service, host.decode("latin-1"), target.decode("latin-1"), status, ttl_s)
        try:
            return all(self.call(entry, entry.plugin.on_cache_store, view) is not False for entry in self.store_hooks)
        except RequiredPluginFault:
            return False

    def tick(self, now: float) -> None:
        for entry in self.tick_hooks:
            self._isolated(entry, entry.plugin.on_tick, now)

    def _isolated(self, entry: Loaded, hook: Any, *args: Any) -> None:
        """A call behind which there is no request to fail: the fault of a required plugin is counted, and that is all."""
        try:
            self.call(entry, hook, *args)
        except RequiredPluginFault:
            return

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
                "events": dict(entry.events),
                "background": {
                    "waiting": len(entry.backlog) if entry.backlog is not None else 0,
                    "done": entry.background_done,
                    "dropped": entry.background_dropped,
                },
            }
            for entry in self.loaded
        ]


def _note(story: Story | None, entry: Loaded, did: str) -> None:
    if story is not None:
        story.note("plugin", entry.name, did)


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
        if sender is not None and sender(service, method, target, headers, body):
            return True
        self._entry.count("send_refused", 1)
        return False

    def count(self, event: str, amount: int = 1) -> None:
        self._entry.count(event, amount)

    def log(self, event: str, **details: Any) -> None:
        self._host.info(event, **{**details, "plugin": self._entry.name})
