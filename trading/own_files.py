"""What users write themselves, in files of their own: strategies, queue models."""

import importlib.util
import sys
from pathlib import Path

from marketdata.settings import SettingsError


def names_of_file(path: Path) -> dict[str, object]:
    """Run a file as a module of its own name and return what it defines.

    Raises
    ------
    SettingsError
        If it cannot be run; the message names the file.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None:
        raise SettingsError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(path.stem)
    sys.modules[path.stem] = module  # dataclasses and compiled functions look their module up while it runs
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        if before is not None:
            sys.modules[path.stem] = before
    return vars(module)
