"""Where plugins are found, and what is said of those that are not."""

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from agent.app.settings import load
from agent.core.units import with_numbers
from agent.hooks import Duration, Plugin, Share, Size
from agent.proxy import plugin_load
from agent.proxy.plugin_load import GROUP, PluginError, bundled_names, find_plugin_class
from tests.unit.plugins.support import made

ROOT = Path(__file__).resolve().parents[3]
ONE = "from agent.hooks import Plugin\nclass One(Plugin): pass\n"


def written(directory: Path, text: str, name: str = "p.py") -> str:
    file = directory / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_bundled_plugins_are_found_without_installation_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_load, "installed", lambda: pytest.fail("not needed"))
    assert bundled_names() == ["auth", "body_limit", "canary", "header_rules", "mirror"]
    for name in bundled_names():
        assert issubclass(find_plugin_class(name, "", "at"), Plugin)
        assert find_plugin_class(name.replace("_", "-"), "", "at") is find_plugin_class(name, "", "at")


def test_entry_points_of_the_project_name_the_same_classes() -> None:
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("entry-points", {}).get(GROUP)
    if group is None:
        pytest.skip("pyproject.toml has no entry points yet")
    assert sorted(group) == bundled_names()
    for name, value in group.items():
        module, _, attribute = value.partition(":")
        assert getattr(sys.modules[find_plugin_class(name, "", "at").__module__], attribute) is find_plugin_class(name, "", "at")
        assert module == f"plugins.{name}"


def points(**named: str) -> Any:
    return lambda: [importlib.metadata.EntryPoint(name.rstrip("_"), value, GROUP) for name, value in named.items()]


def test_installed_plugins_are_found_by_entry_point(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    written(tmp_path, ONE, "far_plugin.py")
    written(tmp_path, "raise OSError('no')", "bad_plugin.py")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = points(far="far_plugin:One", bad="bad_plugin:One", thing="far_plugin:__name__", twice="far_plugin:One", twice_="bad_plugin:One")
    monkeypatch.setattr(plugin_load, "installed", found)
    assert find_plugin_class("far", "", "at").__name__ == "One"
    for name, message in (("bad", "does not load: OSError('no')"), ("thing", "is not a subclass"), ("twice", "several distributions")):
        with pytest.raises(PluginError, match=r"at\.name: .*" + message.replace("(", r"\(").replace(")", r"\)")):
            find_plugin_class(name, "", "at")


def test_a_bundled_name_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_load, "installed", points(auth="evil:Auth"))
    assert find_plugin_class("auth", "", "at").__module__ == "plugins.auth"


@pytest.mark.parametrize("name", ["nothing", "os.path", "../auth", "auth.tokens", ""])
def test_an_unknown_name_is_said_with_those_that_are_known(name: str) -> None:
    with pytest.raises(PluginError, match=r"at\.name: found "):
        find_plugin_class(name, "", "at")


def test_a_file_a_class_in_it_and_a_package(tmp_path: Path) -> None:
    two = written(tmp_path, ONE + "class Two(One): pass\nfrom plugins.canary import CanaryRelease\n", "two.py")
    assert find_plugin_class("x", written(tmp_path, ONE), "at").__name__ == "One"
    assert find_plugin_class("x", f"{two}:Two", "at").__name__ == "Two"
    with pytest.raises(PluginError, match=r"at\.path: .*several plugins \(One, Two\): name one, path:Class"):
        find_plugin_class("x", two, "at")
    package = written(tmp_path, "from .inner import One\n", "pack/__init__.py")
    written(tmp_path, ONE, "pack/inner.py")
    assert find_plugin_class("y", str(Path(package).parent), "at").__name__ == "One"
    assert find_plugin_class("z", f"{Path(package).parent}:One", "at").__name__ == "One"


@pytest.mark.parametrize(
    ("text", "tail", "message"),
    [
        ("def broken(:", "", "does not load: SyntaxError"),
        ("raise SystemExit(1)", "", r"does not load: SystemExit\(1\)"),
        ("import nothing_of_that_name", "", "does not load: ModuleNotFoundError"),
        ("x = 1", "", "has no subclass"),
        (ONE, ":Two", "has no Two"),
        (ONE + "Three = 3", ":Three", "Three is not a subclass"),
        ("from agent.hooks import Plugin\nclass P(Plugin):\n    async def on_request(self, request): ...", "", r"P\.on_request is async"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, tail: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"at\.path: .*" + message):
        find_plugin_class("x", written(tmp_path, text) + tail, "at")
    with pytest.raises(PluginError, match=r"at\.path: found "):
        find_plugin_class("x", str(tmp_path / "missing.py"), "at")


def test_a_relative_path_starts_at_the_configurations_directory(tmp_path: Path) -> None:
    written(tmp_path, ONE)
    file = written(tmp_path, "plugins: [{name: one, path: './p.py:One'}, {name: header_rules, config: {rules: []}}]", "a.yaml")
    settings = load(Path(file), {})
    assert Path(settings.plugins[0].path) == tmp_path / "p.py:One" and settings.plugins[1].path == ""
    assert find_plugin_class("one", settings.plugins[0].path, "at").__name__ == "One"


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    size: Size = 0
    wait: Duration | None = None


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    share: Share = 0.0
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = {}
    text: str = ""


def test_quantities_are_written_with_units_wherever_the_type_has_them() -> None:
    raw = {"share": "20%", "many": [{"size": "64KiB", "wait": "250ms"}], "named": {"a": {"wait": 3}}, "text": "10s"}
    assert msgspec.convert(with_numbers(raw, Outer), Outer) == Outer(0.2, (Inner(65536, 0.25),), {"a": Inner(wait=3.0)}, "10s")
    for bad, path in (
        ({"share": "120%"}, "share"),
        ({"many": [{"size": "1 league"}]}, r"many\[0\]\.size"),
        ({"named": {"a": {"b": 1}}}, "named"),
    ):
        with pytest.raises(msgspec.ValidationError, match=path):
            msgspec.convert(with_numbers(bad, Outer), Outer)


def test_a_plugins_own_refusal_names_the_field(tmp_path: Path) -> None:
    text = ONE + "    def __init__(self, config): raise {}\n"
    for error, path in (("ValueError('a.b[0]: bad')", "plugins[0].config.a.b[0]"), ("KeyError('k')", "plugins[0].config")):
        body = text.replace("class One(Plugin): pass\n", "class One(Plugin):\n").format(error)
        with pytest.raises(PluginError) as caught:
            made("x", {}, written(tmp_path, body))
        assert caught.value.path == path


def test_an_agent_without_plugins_does_not_load_what_looks_for_them() -> None:
    code = "import sys, agent.app.agent_command; print('importlib.metadata' in sys.modules, 'jwt' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "False"], done


def test_it_works_from_a_checkout_in_any_directory_that_python_can_import_it_from(tmp_path: Path) -> None:
    code = "from agent.proxy.plugin_load import bundled_names; print(','.join(bundled_names()))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {[str(ROOT), *sys.path]!r}; {code}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "auth,body_limit,canary,header_rules,mirror", done
