"""What people tell the executor: kill, pause, resume, re-arm, scale, deposit, in a log that only grows.

    flowsense kill|pause|… ──▶ instructions.jsonl ──(executor looks every second)──▶ control ──▶ engine, journal

The command writes a line and returns; the executor hands it to the engine as a control, whose journal row carries the line's
number. So an instruction holds whether an executor runs at that moment or not: the next session obeys what still stands. Each
line carries the hash of the line before.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from filelock import FileLock

from marketdata.paths import DataRoot
from trading.controls import DEPOSIT, KILL, PAUSE, REARM, RESUME, SIZE_SCALE, ControlArray, control, no_controls

Verb = Literal["kill", "pause", "resume", "rearm", "scale", "deposit"]
KINDS: Final[dict[Verb, int]] = {
    "kill": KILL,
    "pause": PAUSE,
    "resume": RESUME,
    "rearm": REARM,
    "scale": SIZE_SCALE,
    "deposit": DEPOSIT,
}
WHOLE_SIZE: Final = 1_000_000
CONTROL_IDS: Final = 1_000_000
"""Controls of people have their instruction's number above this as ``control_id``; those of the executor itself lie below."""
LONGEST_NAME: Final = 33
"""Bytes of a name that a control carries."""


class InstructionError(ValueError):
    """An instruction lacks a name or a reason, or the log was changed; the message says what."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One line of the log.

    Attributes
    ----------
    number : int
        From 1, without gaps.
    flatten : bool
        Kill and pause: close what is open, or hold it.
    wall_ns : int
        When it was given.
    value : int
        Scale: parts per million of an order's size; deposit: nanos.
    instrument_id : int
        Scale: of which instrument; -1: of each.
    """

    number: int
    verb: Verb
    by: str
    reason: str
    flatten: bool
    wall_ns: int
    value: int = 0
    instrument_id: int = -1

    def as_control(self, due_ns: int) -> ControlArray:
        """Return the control that the engine obeys at ``due_ns``."""
        number = CONTROL_IDS + self.number
        value = self.value if self.verb in ("scale", "deposit") else int(self.flatten)
        kind, instrument = KINDS[self.verb], self.instrument_id
        return control(kind, due_ns, by=self.by, control_id=number, value=value, instrument_id=instrument)


def log_file(root: DataRoot) -> Path:
    """Return the log of a root."""
    return root.journals / "instructions.jsonl"


def instruct(
    root: DataRoot,
    verb: Verb,
    by: str,
    reason: str,
    *,
    flatten: bool = True,
    value: int = 0,
    instrument_id: int = -1,
    now_ns: Callable[[], int] = time.time_ns,
) -> Instruction:
    """Write an instruction down; it is on the disk when this returns.

    Raises
    ------
    InstructionError
        If nobody or no reason is named, the name is longer than 33 bytes, a scale is not between 0 and 1, or a deposit is 0.
    """
    if not by.strip() or not reason.strip():
        raise InstructionError(f"{verb} needs the name of the person who asks for it and a reason")
    if len(by.encode()) > LONGEST_NAME:
        raise InstructionError(f"{verb}: the name is longer than {LONGEST_NAME} bytes")
    if verb == "scale" and not 0 <= value <= WHOLE_SIZE:
        raise InstructionError(f"scale: {value} is not between 0 and a million parts of a size")
    if verb == "deposit" and value == 0:
        raise InstructionError("deposit: an amount is wanted, negative for a payment out")
    path = log_file(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        lines = _lines(path)
        made = Instruction(len(_read(path, lines)) + 1, verb, by, reason, flatten, now_ns(), value, instrument_id)
        previous = hashlib.sha256(lines[-1].encode()).hexdigest() if lines else ""
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({**asdict(made), "previous_sha256": previous}, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())
    return made


def read_instructions(root: DataRoot) -> list[Instruction]:
    """Return every instruction, oldest first.

    Raises
    ------
    InstructionError
        If a line does not follow from the line before: the log was changed.
    """
    path = log_file(root)
    return _read(path, _lines(path))


def standing(instructions: Sequence[Instruction], obeyed: int) -> list[Instruction]:
    """Return what an engine that starts anew has to be told, oldest first.

    Parameters
    ----------
    obeyed : int
        Number of the last instruction that the account has gone through: of those only a kill or a pause that was never taken
        back still counts, and the scales that stand; later ones all do.
    """
    killed: Instruction | None = None
    paused: Instruction | None = None
    scaled: dict[int, Instruction] = {}
    for item in instructions[:obeyed]:
        if item.verb in ("kill", "rearm"):
            killed = item if item.verb == "kill" else None
        elif item.verb in ("pause", "resume"):
            paused = item if item.verb == "pause" else None
        elif item.verb == "scale":
            scaled = {} if item.instrument_id < 0 else scaled
            scaled[item.instrument_id] = item
    still = [item for item in (killed, paused, *scaled.values()) if item is not None]
    return [*sorted(still, key=lambda item: item.number), *instructions[obeyed:]]


def as_controls(instructions: Sequence[Instruction], due_ns: int) -> ControlArray:
    """Return the controls of instructions, all due at one time, in their order."""
    rows = [item.as_control(due_ns) for item in instructions]
    return np.concatenate(rows) if rows else no_controls()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _read(path: Path, lines: Sequence[str]) -> list[Instruction]:
    found: list[Instruction] = []
    previous = ""
    for number, line in enumerate(lines, start=1):
        values = json.loads(line)
        if values.pop("previous_sha256") != previous or values["number"] != number:
            raise InstructionError(f"{path}: line {number} does not follow from the line before: the log was changed")
        previous = hashlib.sha256(line.encode()).hexdigest()
        found.append(Instruction(**values))
    return found
