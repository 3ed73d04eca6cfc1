"""The files of a new plugin. ``@NAME@``, ``@MODULE@``, ``@CLASS@`` and ``@HEADER@`` are filled in."""

from typing import Final

FILES: Final[dict[str, str]] = {
    "pyproject.toml": """\
[build-system]
requires = ["setuptools>=70"]
build-backend = "setuptools.build_meta"

[project]
name = "pilotfish-@NAME@"
version = "0.1.0"
description = "A plugin for the Pilotfish agent"
requires-python = ">=3.11"
dependencies = ["pilotfish", "msgspec>=0.19"]

[project.optional-dependencies]
dev = ["pytest>=8"]

# The agent finds the plugin by this, once the package is installed beside it.
[project.entry-points."pilotfish.plugins"]
@NAME@ = "@MODULE@:@CLASS@"

[tool.setuptools]
packages = ["@MODULE@"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["."]
""",
    "@MODULE@/__init__.py": '''\
"""What the plugin is for, in a line that `pilotfish plugin list` shows."""

from msgspec import Struct

from agent.hooks import Context, Duration, Plugin, RequestChanges, RequestView, ResponseChanges, ResponseView, Scope


class @CLASS@Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may stand under `config` in the agent's YAML file; a mistake there is reported with its path."""

    greeting: str
    """What the upstream is told. Required, as it has no default."""
    match: Scope = Scope()
    """Which requests: services, paths, methods."""
    report_every: Duration = 60.0
    """Written as 10s, 5m or a number of seconds."""


class @CLASS@(Plugin):
    """Overrides only the hooks that it needs: the agent calls no others."""

    Config = @CLASS@Config

    def __init__(self, config: @CLASS@Config) -> None:
        super().__init__(config)
        if not config.greeting.isprintable():
            raise ValueError(f"greeting: found {config.greeting!r}, expected printable text")
        self.context: Context | None = None
        self.next_report = 0.0
        self.greeted = 0

    def start(self, context: Context) -> None:
        self.context = context

    def on_request(self, request: RequestView) -> RequestChanges | None:
        """Before the cache and the upstream are asked. Must return at once: no waiting, no files, no network."""
        if not self.config.match.matches(request):
            return None
        self.greeted += 1
        return RequestChanges(set_headers={"@HEADER@": self.config.greeting})

    def on_response(self, request: RequestView, response: ResponseView) -> ResponseChanges | None:
        """Before a response goes to the client, from the upstream or from the cache."""
        if not self.config.match.matches(request):
            return None
        return ResponseChanges(set_headers={"@HEADER@-Cached": "yes" if response.cached else "no"})

    def on_tick(self, now: float) -> None:
        """About once a second."""
        if now >= self.next_report and self.context is not None:
            self.next_report = now + self.config.report_every
            self.context.background(self.report, self.greeted)

    async def report(self, greeted: int) -> None:
        """Runs behind the requests: here it may wait."""
        if self.context is not None:
            self.context.log("greeted", requests=greeted)
            self.context.count("reports")
''',
    "tests/test_plugin.py": """\
import asyncio

import msgspec
import pytest
from agent.hooks.testing import Recorder, configured, request, response

from @MODULE@ import @CLASS@


def test_requests_that_match_are_greeted():
    plugin = configured(@CLASS@, {"greeting": "hello", "match": {"paths": ["/api/*"]}})
    changes = plugin.on_request(request("/api/x"))
    assert changes.set_headers == {"@HEADER@": "hello"}
    assert plugin.on_request(request("/other")) is None


def test_responses_say_whether_they_were_cached():
    plugin = configured(@CLASS@, {"greeting": "hello"})
    for cached, said in ((True, "yes"), (False, "no")):
        changes = plugin.on_response(request("/"), response(cached=cached))
        assert changes.set_headers == {"@HEADER@-Cached": said}


def test_the_report_runs_in_the_background():
    plugin = configured(@CLASS@, {"greeting": "hello", "report_every": "10s"})
    recorder = Recorder()
    plugin.start(recorder)
    plugin.on_request(request("/"))
    for now in (100.0, 101.0, 110.0):
        plugin.on_tick(now)
    for work in recorder.work:
        asyncio.run(work)
    assert recorder.events == [("greeted", {"requests": 1})] * 2
    assert recorder.counts == {"reports": 2}


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({}, msgspec.ValidationError),
        ({"greeting": 5}, msgspec.ValidationError),
        ({"greeting": "hello", "unknown": 1}, msgspec.ValidationError),
        ({"greeting": "a\\nb"}, ValueError),
    ],
)
def test_a_wrong_configuration_is_refused(config, error):
    with pytest.raises(error):
        configured(@CLASS@, config)
""",
    "pilotfish.yaml": """\
# Try the plugin without installing it:  pilotfish agent --config pilotfish.yaml
listen: { egress: "127.0.0.1:15001", admin: "127.0.0.1:15020" }
services:
  web:
    hosts: ["*"]
    endpoints: ["127.0.0.1:9000"]
    cache: { enabled: true }
plugins:
  - name: @NAME@
    path: ./@MODULE@:@CLASS@ # relative to this file; leave it out once the package is installed
    config: { greeting: hello }
""",
    "README.md": """\
# @NAME@

A plugin for the Pilotfish agent, made by `pilotfish plugin new @NAME@`.

- `@MODULE@/__init__.py`: the plugin. `@CLASS@Config` is its configuration, `@CLASS@` has its hooks.
- `tests/`: run `python -m pytest` here.
- `pilotfish.yaml`: an agent with the plugin loaded from this directory. `pilotfish check --config pilotfish.yaml` tells what is
  wrong with its configuration, `pilotfish agent --config pilotfish.yaml` runs it, and
  `curl -i http://127.0.0.1:15001/` shows it at work (with something listening on 127.0.0.1:9000).
- `pip install .` beside the agent, and `name: @NAME@` in any agent's configuration is enough.

All hooks and what they may answer: `docs/plugins.md` of Pilotfish.
""",
}


def filled(name: str) -> dict[str, str]:
    """Paths and texts of the files of a plugin of that name (letters, digits, - and _)."""
    words = name.replace("_", "-").split("-")
    holes = {
        "@NAME@": name,
        "@MODULE@": "pilotfish_" + name.replace("-", "_"),
        "@CLASS@": "".join(word.capitalize() for word in words),
        "@HEADER@": "X-" + "-".join(word.capitalize() for word in words),
    }
    found = {}
    for path, text in FILES.items():
        for hole, value in holes.items():
            path, text = path.replace(hole, value), text.replace(hole, value)
        found[path] = text
    return found
