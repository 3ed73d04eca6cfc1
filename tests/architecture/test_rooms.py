"""The house keeps its measures: file and function sizes, imports, links, generated pages."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = sorted(path for folder in ("agent", "plugins", "loadtest") for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
LINES_MAX = 400
FUNCTION_LINES_MAX = 60


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_have_a_size_to_be_read_at_once(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno + 1 <= FUNCTION_LINES_MAX, f"{node.name} in line {node.lineno}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize(
    ("words", "page"),
    [
        (("config", "reference"), "docs/configuration.md"),
        (("config", "plugins"), "docs/plugins-configuration.md"),
        (("config", "metrics"), "docs/metrics.md"),
        (("config", "schema"), "config/pilotfish.schema.json"),
    ],
)
def test_generated_pages_are_as_the_types_are(words: tuple[str, ...], page: str) -> None:
    made = subprocess.run([sys.executable, "-m", "agent", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert made.stdout == (ROOT / page).read_text(encoding="utf-8"), "run `make docs`"


def test_imports_point_down() -> None:
    checked = subprocess.run([Path(sys.executable).with_name("lint-imports")], cwd=ROOT, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_every_module_of_the_compiled_list_exists_and_every_base_of_a_compiled_class_is_compiled_or_plain() -> None:
    names = re.findall(r'^ {16}"(\w+)",$', (ROOT / "setup.py").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(names) > 10
    for name in names:
        assert (ROOT / "agent" / "proxy" / f"{name}.py").is_file(), name


def test_each_decision_has_a_number_of_its_own() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        assert page.read_text(encoding="utf-8").startswith(f"# {int(page.name[:4])}. "), page


def test_what_is_compiled_imports_nothing_that_the_build_does_not_have() -> None:
    """An import without types ends the compilation, and the installation goes on interpreted without a word."""
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    hot = [ROOT / "agent" / "proxy" / f"{name}.py" for name in re.findall(r'^ {16}"(\w+)",$', source, re.MULTILINE)]
    for folder in ("http", "cache", "cache/eviction", "routing"):
        hot.extend((ROOT / "agent" / "core" / folder).glob("*.py"))
    seen: set[Path] = set()
    while hot:
        path = hot.pop()
        if path in seen:
            continue
        seen.add(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                top = name.partition(".")[0]
                if top == "agent":
                    module = ROOT / (name.replace(".", "/") + ".py")
                    hot.extend([module] if module.is_file() else [])
                else:
                    assert top in sys.stdlib_module_names or top == "msgspec", f"{path}: {name}"


def test_nothing_is_left_to_do_and_no_page_knows_a_machine() -> None:
    unfinished = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    machine = re.compile(r"/(?:work|root|home/\w+)/")
    for path in tracked():
        if path.suffix in {".py", ".md", ".yaml", ".toml", ".json"} and "corpus" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert not unfinished.search(text), path
            assert not machine.search(text), path


def test_the_readme_names_commands_that_exist() -> None:
    from agent.app.cli import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in re.findall(r"^pilotfish ([a-z-]+)", text, re.MULTILINE):
        assert command in COMMANDS or command == "version"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make ([a-z]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
