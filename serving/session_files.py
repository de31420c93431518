"""What a traded session leaves behind: forecasts and journal rows appended while it runs, one folder a session.

Forecasts are on disk before the engine sees them (P7). Files grow by whole rows; after a crash a torn last row is left
out when reading. When the session ends, ``journal.npz`` is written from them; ``session.json`` says what it was.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from models.forecast import FORECAST_DTYPE, ForecastArray
from trading.journal import JOURNAL_DTYPE, Journal, save_journal

FORECASTS_FILE: Final = "forecasts.bin"
ROWS_FILE: Final = "journal.bin"
JOURNAL_FILE: Final = "journal.npz"
SESSION_FILE: Final = "session.json"


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a session was: who traded, with which engine, in which mode."""

    session_id: str
    day: str
    mode: str
    model: str
    bundle_sha256: str
    engine_fingerprint: str
    feature_fingerprint: str
    status: str = "running"


class SessionFiles:
    """The writer of one session's folder; what an earlier run of the same session left is replaced.

    Attributes
    ----------
    forecasts, rows : int
        Written so far.
    """

    folder: Path
    facts: SessionFacts
    forecasts: int
    rows: int

    def __init__(self, folder: Path, facts: SessionFacts) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.facts = facts
        (folder / JOURNAL_FILE).unlink(missing_ok=True)
        self.forecasts = self.rows = 0
        self._forecasts: IO[bytes] = (folder / FORECASTS_FILE).open("wb")
        self._rows: IO[bytes] = (folder / ROWS_FILE).open("wb")
        _write_json(folder / SESSION_FILE, asdict(facts))

    @classmethod
    def resume(cls, folder: Path, facts: SessionFacts, forecasts: int, rows: int) -> "SessionFiles":
        """Return the writer of a session that was interrupted, at the place of its checkpoint; what came after it is dropped.

        Raises
        ------
        ValueError
            If the files hold less than the checkpoint had written.
        """
        kept = ((FORECASTS_FILE, forecasts, FORECAST_DTYPE), (ROWS_FILE, rows, JOURNAL_DTYPE))
        for name, count, dtype in kept:
            if (folder / name).stat().st_size < count * dtype.itemsize:
                raise ValueError(f"{folder / name} holds fewer than {count} rows")
        for name, count, dtype in kept:
            os.truncate(folder / name, count * dtype.itemsize)
        (folder / JOURNAL_FILE).unlink(missing_ok=True)
        files = cls.__new__(cls)
        files.folder, files.facts, files.forecasts, files.rows = folder, facts, forecasts, rows
        files._forecasts, files._rows = (folder / FORECASTS_FILE).open("ab"), (folder / ROWS_FILE).open("ab")
        _write_json(folder / SESSION_FILE, asdict(facts))
        return files

    def append_forecasts(self, forecasts: ForecastArray) -> None:
        """Write forecasts down; they are with the operating system when this returns."""
        if len(forecasts):
            self._forecasts.write(_bytes(forecasts, FORECAST_DTYPE))
            self._forecasts.flush()
            self.forecasts += len(forecasts)

    def append_rows(self, rows: Journal) -> None:
        """Write journal rows down."""
        if len(rows):
            self._rows.write(_bytes(rows, JOURNAL_DTYPE))
            self._rows.flush()
            self.rows += len(rows)

    def close(self) -> None:
        """Let go of the files; a session that was not finished goes on from them another time."""
        self._forecasts.close()
        self._rows.close()

    def finish(self, status: str, **further: Any) -> None:
        """Close the files and write the whole journal; ``further`` facts are kept in ``session.json``."""
        self.close()
        save_journal(self.folder / JOURNAL_FILE, read_rows(self.folder))
        _write_json(self.folder / SESSION_FILE, {**asdict(self.facts), "status": status, **further})


def read_forecasts(folder: Path) -> ForecastArray:
    """Return the forecasts of a session's folder, in the order in which they were made."""
    return _read(folder / FORECASTS_FILE, FORECAST_DTYPE)


def read_rows(folder: Path) -> Journal:
    """Return the journal rows of a session's folder, finished or not."""
    return _read(folder / ROWS_FILE, JOURNAL_DTYPE)


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what ``session.json`` says."""
    facts: dict[str, Any] = json.loads((folder / SESSION_FILE).read_text(encoding="utf-8"))
    return facts


def _bytes(rows: npt.NDArray[np.void], dtype: np.dtype[np.void]) -> bytes:
    """Return the rows' bytes with zeros between the fields: equal rows give equal bytes."""
    clean = np.zeros(len(rows), dtype)
    for name in dtype.names or ():
        clean[name] = rows[name]
    return clean.tobytes()


def _read(path: Path, dtype: np.dtype[np.void]) -> npt.NDArray[np.void]:
    content = path.read_bytes()
    whole = len(content) - len(content) % dtype.itemsize
    return np.frombuffer(content[:whole], dtype).copy()


def _write_json(path: Path, values: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, path)
