"""Telemetry is off whatever the user's environment says, and an edited kernel is never answered from an old cache."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from marketdata.environment import TELEMETRY_OFF


def python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **env},
        cwd=env.get("PWD"),
    )
    return done.stdout.strip()


def test_importing_any_package_switches_every_usage_report_off() -> None:
    code = f"import os, features; print(all(os.environ[k] == v for k, v in {TELEMETRY_OFF!r}.items()))"
    assert python(code, MLFLOW_DISABLE_TELEMETRY="false", DO_NOT_TRACK="0") == "True"


def test_an_edited_callee_gives_the_new_result_in_a_new_process(tmp_path: Path) -> None:
    package = tmp_path / "marketdata"
    package.mkdir()
    source = Path(__file__).resolve().parents[2] / "marketdata" / "environment.py"
    (package / "environment.py").write_text(source.read_text())
    (package / "__init__.py").write_text("from marketdata.environment import configure\nconfigure()\n")
    (package / "callee.py").write_text("from numba import njit\n@njit(cache=True)\ndef f(x):\n    return x + 1\n")
    (package / "caller.py").write_text(
        textwrap.dedent("""
        from numba import njit
        from marketdata.callee import f
        @njit(cache=True)
        def g(x):
            return 10 * f(x)
        """)
    )
    env = {"PYTHONPATH": str(tmp_path), "PWD": str(tmp_path), "FLOWSENSE_CACHE": str(tmp_path / "cache")}
    unset = "import os; os.environ.pop('NUMBA_CACHE_DIR', None)\n"
    call = unset + "import marketdata.caller as c; print(c.g(1))"
    assert python(call, **env) == "20"
    (package / "callee.py").write_text("from numba import njit\n@njit(cache=True)\ndef f(x):\n    return x + 2\n")
    assert python(call, **env) == "30"
