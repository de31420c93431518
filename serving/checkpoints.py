"""An executor's checkpoint on disk: one file of arrays and a description of everything else, no pickle.

A checkpoint is nested tuples and dataclasses with arrays and numbers at their ends. Each end is stored under its path; reading
walks the checkpoint of a fresh executor and puts what was stored in the place of its ends, so that the file says values and the
code says forms. A file that another version of the code wrote is refused, never half-read.
"""

import io
import json
import os
import zipfile
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

CHECKPOINT_FILE: Final = "checkpoint.npz"
FORMAT: Final = 1
_FACTS: Final = "facts"


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says why."""


@dataclass(frozen=True)
class StoredCheckpoint:
    """A checkpoint as it was stored.

    Attributes
    ----------
    facts : dict
        What :func:`save_checkpoint` was given beside the state.
    """

    facts: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]
    plain: dict[str, Any]

    def fill(self, template: Any) -> Any:
        """Return the stored state in the form of a fresh one.

        Raises
        ------
        CheckpointError
            If the forms differ.
        """
        used: set[str] = set()
        state = _fill(template, "", self, used)
        odd = (self.arrays.keys() | self.plain.keys()) - used
        if odd:
            raise CheckpointError(f"the checkpoint has {min(odd)}, which this version does not know")
        return state


def save_checkpoint(path: Path, state: Any, facts: dict[str, Any]) -> None:
    """Write a state and facts about it, whole or not at all.

    Parameters
    ----------
    state : nested NamedTuples, tuples and dataclasses
        With arrays, numbers, texts, dicts and frozen sets of numbers at the ends.
    facts : dict
        JSON-able.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    plain: dict[str, Any] = {}
    _collect(state, "", arrays, plain)
    text = json.dumps({"format": FORMAT, _FACTS: facts, "plain": plain}, sort_keys=True)
    content = io.BytesIO()
    np.savez(content, **{"": np.frombuffer(text.encode(), np.uint8), **arrays})  # type: ignore[arg-type]  # names are free
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content.getvalue())
    os.replace(temporary, path)


def read_checkpoint(path: Path) -> StoredCheckpoint:
    """Return a stored checkpoint.

    Raises
    ------
    CheckpointError
        If there is none, it is damaged, or it has another format.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:  # numpy leaves a damaged file open
            arrays = {name: stored[name] for name in stored.files}
        described = json.loads(arrays.pop("").tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: no readable checkpoint ({error})") from error
    if described.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {described.get('format')}, this version reads {FORMAT}")
    return StoredCheckpoint(described[_FACTS], arrays, described["plain"])


def _parts(state: Any) -> list[tuple[str, Any]] | None:
    """Return the named parts of a compound state, None at an end."""
    if isinstance(state, tuple):
        return [(str(k), part) for k, part in enumerate(state)]
    if is_dataclass(state) and not isinstance(state, type):
        return [(field.name, getattr(state, field.name)) for field in fields(state)]
    return None


def _collect(state: Any, path: str, arrays: dict[str, npt.NDArray[Any]], plain: dict[str, Any]) -> None:
    parts = _parts(state)
    if parts is not None:
        for name, part in parts:
            _collect(part, f"{path}/{name}", arrays, plain)
    elif isinstance(state, np.ndarray):
        arrays[path] = state
    elif isinstance(state, dict):
        plain[path] = sorted(state.items())
    elif isinstance(state, frozenset):
        plain[path] = sorted(state)
    elif state is None or isinstance(state, bool | int | float | str):
        plain[path] = state
    else:
        raise CheckpointError(f"{path}: {type(state).__name__} cannot be stored")


def _fill(template: Any, path: str, stored: StoredCheckpoint, used: set[str]) -> Any:
    parts = _parts(template)
    if parts is not None:
        filled = {name: _fill(part, f"{path}/{name}", stored, used) for name, part in parts}
        if not isinstance(template, tuple):
            return replace(template, **filled)
        values = filled.values()
        return type(template)(*values) if hasattr(template, "_fields") else tuple(values)
    used.add(path)
    if isinstance(template, np.ndarray):
        found = stored.arrays.get(path)
        if found is None or found.dtype != template.dtype or found.ndim != template.ndim:
            raise CheckpointError(f"the checkpoint has no {path} of {template.dtype} in {template.ndim} dimension(s)")
        return found
    if path not in stored.plain:
        raise CheckpointError(f"the checkpoint has no {path}")
    value = stored.plain[path]
    if isinstance(template, dict):
        return dict(value)
    return frozenset(value) if isinstance(template, frozenset) else value
