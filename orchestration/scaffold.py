"""``flowsense new``: a working starting point of one's own, its test, and its line in the catalogue.

What is written is code that runs and a test that passes; both are meant to be changed. A kind is a function that gives every
file as it shall be, so that nothing is written before everything is known.
"""

import keyword
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from marketdata.settings import SettingsError
from orchestration import scaffold_feature, scaffold_forecaster, scaffold_strategy, scaffold_venue

Files = dict[Path, str]
"""Text of every file to be made or changed, by its path in the checkout."""


def scaffold(kind: str, name: str, checkout: Path) -> list[Path]:
    """Write a new member of a family into a checkout; return the files made or changed.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`.
    name : str
        Lower-case Python identifier; also the name of its file.
    checkout : Path
        Folder of the repository.

    Raises
    ------
    SettingsError
        If the name is no identifier or taken, or the folder is no checkout; then nothing is written.
    """
    if kind not in KINDS:
        raise SettingsError(f"unknown kind {kind!r}; there are {', '.join(KINDS)}")
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise SettingsError(f"{name!r} is not a lower-case Python identifier")
    made, changed = KINDS[kind](name, checkout)
    for path in made:
        if path.exists():
            raise SettingsError(f"{path} exists already")
        if not path.parent.is_dir():
            raise SettingsError(f"{checkout} is not a FlowSense checkout")
    for path, text in (made | changed).items():
        path.write_text(text, encoding="utf-8")
    return [*made, *changed]


def _forecaster(name: str, checkout: Path) -> tuple[Files, Files]:
    models, title = checkout / "models", _title(name)
    made = {
        models / f"{name}.py": scaffold_forecaster.MODULE.format(name=name, title=title),
        checkout / "tests" / "models" / f"test_{name}.py": scaffold_forecaster.TEST.format(name=name),
    }
    lines = _lines(models / "catalog.py", checkout)
    _add_import(lines, f"from models.{name} import {title}Forecaster\n", "from models.")
    _add_entry(lines, "FORECASTERS:", name, f"{title}Forecaster()")
    return made, {models / "catalog.py": "".join(lines)}


def _strategy(name: str, checkout: Path) -> tuple[Files, Files]:
    trading = checkout / "trading"
    made = {
        trading / "strategies" / f"{name}.py": scaffold_strategy.MODULE.format(name=name, title=_title(name)),
        checkout / "tests" / "trading" / f"test_{name}.py": scaffold_strategy.TEST.format(name=name),
    }
    lines = _lines(trading / "strategy_catalog.py", checkout)
    _add_import(lines, f"from trading.strategies.{name} import {name}\n", "from trading.")
    _add_entry(lines, "STRATEGIES:", name, name)
    return made, {trading / "strategy_catalog.py": "".join(lines)}


def _feature(name: str, checkout: Path) -> tuple[Files, Files]:
    features, title = checkout / "features", _title(name)
    _lines(features / "own.py", checkout)  # the form that it takes
    imports = "".join(sorted([f"from features.{name} import FEATURE\n", "from features.own import check_own\n"]))
    made = {
        features / f"{name}.py": scaffold_feature.MODULE.format(name=name, title=title),
        checkout / "tests" / "features" / f"test_{name}.py": scaffold_feature.TEST.format(name=name, imports=imports),
    }
    return made, {}


def _venue(name: str, checkout: Path) -> tuple[Files, Files]:
    codecs, tests, page = checkout / "marketdata" / "codecs", checkout / "tests" / "codecs", checkout / "docs/venues.md"
    title = _title(name)
    made = {
        codecs / f"{name}.py": scaffold_venue.MODULE.format(name=name, title=title),
        tests / f"{name}_frames.py": scaffold_venue.FRAMES.format(name=name),
        tests / f"test_{name}.py": scaffold_venue.TEST.format(name=name),
    }
    catalogue = _lines(codecs / "catalog.py", checkout)
    first = catalogue.index("from marketdata.codecs import (\n")
    _add_sorted(catalogue, first, f"    {name},\n", ")\n")
    _add_entry(catalogue, "VENUES:", name, f"_of({name}.{title}())")
    sessions = _lines(tests / "venue_frames.py", checkout)
    _add_import(sessions, f"from tests.codecs import {name}_frames\n", "from marketdata.")
    _add_entry(sessions, "SESSIONS:", name, f"{name}_frames.SESSION")
    table = _lines(page, checkout)
    for heading, row in (
        ("| name | channels", scaffold_venue.CHANNELS_ROW),
        ("| venue | recording", scaffold_venue.CHECKED_ROW),
    ):
        end = next(k for k, line in enumerate(table) if line.startswith(heading))
        while table[end].startswith("|"):
            end += 1
        table.insert(end, row.format(name=name))
    changed = {codecs / "catalog.py": catalogue, tests / "venue_frames.py": sessions, page: table}
    return made, {path: "".join(lines) for path, lines in changed.items()}


KINDS: Final[Mapping[str, Callable[[str, Path], tuple[Files, Files]]]] = {
    "feature": _feature,
    "forecaster": _forecaster,
    "strategy": _strategy,
    "venue": _venue,
}
"""What can be started: each gives the files to make and those to change."""


def _title(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _lines(path: Path, checkout: Path) -> list[str]:
    if not path.is_file():
        raise SettingsError(f"{checkout} is not a FlowSense checkout: it has no {path.relative_to(checkout)}")
    return path.read_text(encoding="utf-8").splitlines(keepends=True)


def _add_import(lines: list[str], line: str, prefix: str) -> None:
    """Put an import among those of its package, in order; behind the last of the prefix where no later one follows."""
    at = max(k for k, text in enumerate(lines) if text.startswith(prefix)) + 1
    while lines[at - 1].startswith(prefix) and lines[at - 1] > line:
        at -= 1
    lines.insert(at, line)


def _add_sorted(lines: list[str], first: int, line: str, end: str) -> None:
    """Put a line among the sorted ones of a bracket that opens at ``first``."""
    at = first + 1
    while lines[at] != end and lines[at] < line:
        at += 1
    lines.insert(at, line)


def _add_entry(lines: list[str], assignment: str, name: str, value: str) -> None:
    """Put an entry at the end of the mapping that is assigned to a name.

    Raises
    ------
    SettingsError
        If it has one of that name.
    """
    start = next(k for k, text in enumerate(lines) if text.startswith(assignment))
    end = next(k for k in range(start, len(lines)) if lines[k] == "}\n")
    if any(text.lstrip().startswith(f'"{name}":') for text in lines[start:end]):
        raise SettingsError(f"{name!r} exists already in {assignment.rstrip(':')}")
    lines.insert(end, f'    "{name}": {value},\n')
