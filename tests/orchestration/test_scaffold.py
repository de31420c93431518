"""`flowsense new` writes members that work, and writes nothing when it refuses."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from marketdata.settings import SettingsError
from orchestration.scaffold import scaffold

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    (tmp_path / "tests" / "models").mkdir(parents=True)
    shutil.copy(ROOT / "models" / "catalog.py", tmp_path / "models" / "catalog.py")
    return tmp_path


def test_a_new_forecaster_gets_a_module_a_test_and_a_catalogue_line(checkout: Path) -> None:
    made = scaffold("forecaster", "my_idea", checkout)
    assert [path.relative_to(checkout).as_posix() for path in made] == [
        "models/my_idea.py",
        "tests/models/test_my_idea.py",
        "models/catalog.py",
    ]
    for path in made:
        ast.parse(path.read_text())
    catalogue = (checkout / "models" / "catalog.py").read_text()
    assert '    "my_idea": MyIdeaForecaster(),\n}' in catalogue
    assert "from models.my_idea import MyIdeaForecaster" in catalogue


@pytest.mark.parametrize(
    ("name", "reason"), [("My-Idea", "identifier"), ("class", "identifier"), ("catalog", "exists")]
)
def test_a_bad_name_is_refused_and_nothing_is_written(checkout: Path, name: str, reason: str) -> None:
    before = (checkout / "models" / "catalog.py").read_text()
    with pytest.raises(SettingsError, match=reason):
        scaffold("forecaster", name, checkout)
    assert (checkout / "models" / "catalog.py").read_text() == before
    assert sorted(p.name for p in (checkout / "models").iterdir()) == ["catalog.py"]


@pytest.mark.slow
def test_the_tests_of_a_new_forecaster_pass_as_written(tmp_path: Path) -> None:
    copied = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(".git", ".venv", "var", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, copied, ignore=ignored)
    scaffold("forecaster", "my_idea", copied)
    command = [sys.executable, "-m", "pytest", "-q", "tests/models/test_my_idea.py"]
    done = subprocess.run(command, cwd=copied, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:]
