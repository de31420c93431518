"""Where the material of the systems that we compare with lies; without it a benchmark runs on its own input, without a peer."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

VARIABLE: Final = "FLOWSENSE_PEERS"
PYTHONS: Final = "FLOWSENSE_PEER_PYTHONS"
"""Interpreters that have peers installed, separated as in ``PATH``; their versions need not agree with ours."""


def peers_folder() -> Path | None:
    """Return the folder of generators and references, None where it is absent.

    It is ``FLOWSENSE_PEERS``, else ``../shared/bench`` beside the checkout.
    """
    given = os.environ.get(VARIABLE)
    folder = Path(given) if given else Path(__file__).resolve().parent.parent.parent / "shared" / "bench"
    return folder if folder.is_dir() else None


def run_generator(folder: Path, script: str, *arguments: str, into: Path) -> None:
    """Run one of the folder's generators, which writes below ``into``; nothing is written beside it.

    Raises
    ------
    subprocess.CalledProcessError
        If it fails; the message holds what it said.
    """
    environment = {
        **os.environ,
        "PEERS_DATA": str(into),
        "NUMBA_CACHE_DIR": str(into / "numba"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(folder),
    }
    subprocess.run(
        [sys.executable, str(folder / script), *arguments], cwd=into, env=environment, check=True, capture_output=True
    )


def peer_python(package: str) -> Path | None:
    """Return the first interpreter of ``FLOWSENSE_PEER_PYTHONS`` that can import a package, None where none can.

    A peer runs in a process of its own: its pinned dependencies would not live beside ours.
    """
    for text in os.environ.get(PYTHONS, "").split(os.pathsep):
        python = Path(text)
        if text and python.is_file():
            found = subprocess.run(
                [str(python), "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec({package!r}) is None)"],
                check=False,
                capture_output=True,
            )
            if found.returncode == 0:
                return python
    return None
