"""The repository itself: pins that install anywhere, documented targets that exist, packages that are listed, thin imports."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")
GIVEN = (
    "dagster",
    "mlflow",
    "polars",
    "duckdb",
    "torch",
    "torch-geometric",
    "pomegranate",
    "transformers",
    "numba",
    "scikit-learn",
    "great-expectations",
)
HEAVY = (
    "torch",
    "mlflow",
    "transformers",
    "torch_geometric",
    "pomegranate",
    "sklearn",
    "great_expectations",
    "matplotlib",
    "pandas",
)


def pins(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_line_is_one_plain_pin_that_installs_anywhere(name: str) -> None:
    for line in pins(name):
        assert re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.!]+", line), f"{name}: {line}"


def test_every_given_package_is_a_pinned_dependency_and_imported_somewhere() -> None:
    modules = {
        "scikit-learn": "sklearn",
        "torch-geometric": "torch_geometric",
        "great-expectations": "great_expectations",
    }
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins("requirements.lock")}
    sources = [p.read_text() for folder in packages() for p in (ROOT / folder).rglob("*.py")]
    for package in GIVEN:
        assert package in pinned
        module = modules.get(package, package)
        wanted = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
        assert any(wanted.search(text) for text in sources), f"{package} is pinned but nothing imports it"


def packages() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return sorted({name.split(".")[0] for name in project["tool"]["setuptools"]["packages"]})


def test_every_package_folder_is_listed_for_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for folder in packages()
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert found == listed


def test_the_commands_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named
    assert named <= targets


def test_ci_calls_the_test_command_of_the_readme() -> None:
    assert "make test" in (ROOT / ".ci" / "run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_the_command_line_starts_without_a_heavy_library() -> None:
    code = f"import sys, orchestration.cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_every_command_has_help() -> None:
    import typer.main

    from orchestration.cli.main import app

    def walk(command: object, path: str) -> None:
        children = getattr(command, "commands", None)
        if children:
            for name, child in children.items():
                walk(child, f"{path} {name}")
            return
        assert getattr(command, "help", None), f"{path} has no help"

    walk(typer.main.get_command(app), "flowsense")


def test_a_wrong_path_is_one_line_on_stderr_and_exit_code_two(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestration.cli.main", "--root", str(tmp_path / "root")]
    done = subprocess.run(
        [*command, "run", "--source", "lobster", "--data", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.strip().count("\n") == 0
    assert "nowhere" in done.stderr
    assert not (tmp_path / "root").exists()
