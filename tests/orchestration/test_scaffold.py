"""`flowsense new` writes members that work, and writes nothing when it refuses."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from features.own import check_own, load_own
from marketdata.codecs import catalog as venues
from marketdata.settings import SettingsError
from orchestration import scaffold_venue
from orchestration.scaffold import KINDS, scaffold
from tests.codecs import test_venue_laws, test_venues_page, venue_frames
from tests.features.tape import random_tape
from trading import strategy_catalog

ROOT = Path(__file__).resolve().parents[2]
CHANGED = (
    "features/own.py",
    "models/catalog.py",
    "trading/strategy_catalog.py",
    "marketdata/codecs/catalog.py",
    "tests/codecs/venue_frames.py",
    "docs/venues.md",
)
MADE = {
    "feature": ["features/my_idea.py", "tests/features/test_my_idea.py"],
    "forecaster": ["models/my_idea.py", "tests/models/test_my_idea.py", "models/catalog.py"],
    "strategy": ["trading/strategies/my_idea.py", "tests/trading/test_my_idea.py", "trading/strategy_catalog.py"],
    "venue": [
        "marketdata/codecs/my_idea.py",
        "tests/codecs/my_idea_frames.py",
        "tests/codecs/test_my_idea.py",
        "marketdata/codecs/catalog.py",
        "tests/codecs/venue_frames.py",
        "docs/venues.md",
    ],
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in CHANGED:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("tests/features", "tests/models", "tests/trading", "trading/strategies"):
        (tmp_path / folder).mkdir()
    return tmp_path


def texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_every_kind_is_here() -> None:
    assert set(MADE) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_member_gets_its_files_and_its_catalogue_line(checkout: Path, kind: str) -> None:
    before = texts(checkout)
    made = scaffold(kind, "my_idea", checkout)
    assert [path.relative_to(checkout).as_posix() for path in made] == MADE[kind]
    after = texts(checkout)
    assert set(after) - set(before) == {name for name in MADE[kind] if name not in CHANGED}
    for name, text in after.items():
        if name.endswith(".py"):
            ast.parse(text)
        if before.get(name, text) != text:
            assert set(before[name].splitlines()) < set(text.splitlines()), "lines are added, none is changed"
    shutil.copy(ROOT / "pyproject.toml", checkout)
    code = [str(path.relative_to(checkout)) for path in made if path.suffix == ".py"]
    ours = 'lint.isort.known-first-party=["features", "marketdata", "models", "tests", "trading"]'
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", ours, *code]
    checked = subprocess.run(ruff, cwd=checkout, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "reason"), [("My-Idea", "identifier"), ("class", "identifier")])
def test_a_bad_name_is_refused_and_nothing_is_written(checkout: Path, kind: str, name: str, reason: str) -> None:
    before = texts(checkout)
    with pytest.raises(SettingsError, match=reason):
        scaffold(kind, name, checkout)
    assert texts(checkout) == before


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("feature", "own"),
        ("forecaster", "catalog"),
        ("strategy", "taker"),
        ("venue", "catalog"),
        ("venue", "binance_spot"),
    ],
)
def test_a_taken_name_is_refused_and_nothing_is_written(checkout: Path, kind: str, name: str) -> None:
    before = texts(checkout)
    with pytest.raises(SettingsError, match="exists already"):
        scaffold(kind, name, checkout)
    assert texts(checkout) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(SettingsError, match="is not a FlowSense checkout"):
        scaffold(kind, "my_idea", tmp_path)


def test_the_venue_that_is_written_is_the_one_that_the_page_explains() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "venues.md").read_text(), re.DOTALL)
    assert code
    made = scaffold_venue.MODULE.format(name="example", title="Example")
    assert made.split("class _Head", 1)[1] == code[1].split("class _Head", 1)[1]


@pytest.fixture
def as_module(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    def load(name: str) -> ModuleType:
        spec = spec_from_file_location(name, checkout / f"{name.replace('.', '/')}.py")
        assert spec
        assert spec.loader
        module = module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


def run_tests_of(module: ModuleType) -> int:
    tests = [value for name, value in vars(module).items() if name.startswith("test_")]
    for test in tests:
        test()
    return len(tests)


def test_the_tests_of_a_new_strategy_pass(checkout: Path, as_module, monkeypatch: pytest.MonkeyPatch) -> None:
    scaffold("strategy", "my_idea", checkout)
    made = as_module("trading.strategies.my_idea")
    monkeypatch.setattr(strategy_catalog, "STRATEGIES", strategy_catalog.STRATEGIES | {"my_idea": made.my_idea})
    assert run_tests_of(as_module("tests.trading.test_my_idea")) == 5


def test_the_tests_of_a_new_feature_pass(checkout: Path, as_module) -> None:
    scaffold("feature", "my_idea", checkout)
    made = as_module("features.my_idea")
    assert check_own(load_own(checkout / "features" / "my_idea.py"), random_tape(7, 100)) == []
    assert made.FEATURE.name == "my_idea"
    assert run_tests_of(as_module("tests.features.test_my_idea")) == 3


def test_the_tests_of_a_new_venue_pass_and_every_law_holds_for_it(
    checkout: Path, as_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    scaffold("venue", "my_idea", checkout)
    made = as_module("marketdata.codecs.my_idea")
    frames = as_module("tests.codecs.my_idea_frames")
    monkeypatch.setattr(venues, "VENUES", venues.VENUES | {"my_idea": venues._of(made.MyIdea())})
    monkeypatch.setattr(venue_frames, "SESSIONS", venue_frames.SESSIONS | {"my_idea": frames.SESSION})
    monkeypatch.setattr(test_venue_laws, "SESSIONS", venue_frames.SESSIONS)
    assert run_tests_of(as_module("tests.codecs.test_my_idea")) == 1
    laws = [value for name, value in vars(test_venue_laws).items() if name.startswith("test_")]
    for law in laws:
        if any(mark.name == "parametrize" for mark in getattr(law, "pytestmark", ())):
            law(venue="my_idea")
    monkeypatch.setattr(test_venues_page, "PAGE", checkout / "docs" / "venues.md")
    test_venues_page.test_the_page_names_every_venue()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_tests_of_a_new_member_pass_as_written(tmp_path: Path, kind: str) -> None:
    copied = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copied, ignore=ignored)
    made = scaffold(kind, "my_idea", copied)
    tests = [str(path.relative_to(copied)) for path in made if path.name.startswith("test_")]
    command = [sys.executable, "-m", "pytest", "-q", *tests]
    done = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
