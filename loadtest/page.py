"""The figures in the documentation: tables between markers, the picture beside the page."""

import datetime
from pathlib import Path

from loadtest import plot, tables
from loadtest.compare import Results

PAGE = "performance.md"
PICTURE = "performance.svg"


def replaced(text: str, name: str, new: str) -> str:
    """`text` with `new` between the markers of that name. ValueError where they are not there."""
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
    if begin not in text or end not in text:
        raise ValueError(f"no markers {begin.strip()} … {end} in the page")
    before, rest = text.split(begin, 1)
    return before + begin + "\n" + new.strip() + "\n\n" + end + rest.split(end, 1)[1]


def write(results: Results, folder: Path, readme: Path | None) -> list[str]:
    """Put a run's figures into the pages of `folder`, and the short form into the README. What could not be done, in words."""
    page = folder / PAGE
    text = replaced(page.read_text(encoding="utf-8"), "measured", f"{conditions(results)}\n\n{tables.whole(results)}")
    page.write_text(text, encoding="utf-8")
    if readme is not None:
        short = tables.short(results)
        if short:
            readme.write_text(replaced(readme.read_text(encoding="utf-8"), "measured", short), encoding="utf-8")
    return [] if plot.save(results, folder / PICTURE) else [plot.HOW_TO_GET]


def conditions(results: Results) -> str:
    """Where and how, in a sentence."""
    machine = results.machine
    versions = "; ".join(f"{name}: {version}" for name, version in results.versions.items())
    return (
        f"{datetime.date.today().isoformat()}, {machine['processor']}, {machine['cores']} cores, Linux {machine['kernel']}, "
        f"Python {machine['python']}, {machine['wrk']}, upstream {results.upstream}; {results.rounds} rounds of {results.seconds} s each; "
        f"load average before the run {machine['load_average']}.\n\n{versions}."
    )
