"""The trial ledger: everything that was ever tried, written down before it is fitted.

A trial is one distinct choice of (training window rule, features, label, model, hyperparameters, strategy
parameters). Folds, nights and control worlds of the same choice are the same trial. Failed fits count, and deleting
runs elsewhere changes nothing: the ledger is append-only and hash-chained. Its size is the N of the deflated Sharpe
ratio.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from marketdata.paths import DataRoot
from models.append_only import (
    GENESIS,
    append_only_triggers,
    canonical_json,
    create_database,
    has_table,
    reading,
    sha256_text,
    writing,
)

_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS trials (
    sequence INTEGER PRIMARY KEY,
    trial_id TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    record_hash TEXT NOT NULL UNIQUE,
    recorded_ns INTEGER NOT NULL
);
{append_only_triggers("trials")}
"""


@dataclass(frozen=True, slots=True)
class Trial:
    """One choice that is about to be tried.

    Attributes
    ----------
    window : str
        The *rule* of the training window (``"expanding, 3 sessions first, 20 at most"``), not its dates.
    features : str
        Fingerprint of the raw and fitted feature specification.
    label : str
        Label specification.
    model : str
        Name of the forecaster.
    hyperparameters, strategy : mapping
        JSON-able parameters of the forecaster and of the strategy that trades it.
    """

    window: str
    features: str
    label: str
    model: str
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    strategy: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trial_id(self) -> str:
        """SHA-256 of the content: equal choices have equal ids."""
        return sha256_text(canonical_json(asdict(self)))


class TrialLedger:
    """The trial ledger of a data root.

    Parameters
    ----------
    root : DataRoot
        Its ``trials_database`` is created when it does not exist.
    clock : callable, optional
        Returns nanoseconds since 1970 UTC; when a trial was written down is kept, but is no part of its identity.
    """

    def __init__(self, root: DataRoot, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._path = root.trials_database
        self._clock = clock
        if not has_table(self._path, "trials"):
            create_database(self._path, _SCHEMA)

    def register(self, trial: Trial) -> str:
        """Write a trial down, unless it is there, and return its id. Call it before the fit."""
        return self.register_all([trial])[0]

    def register_all(self, trials: Sequence[Trial]) -> list[str]:
        """Write many trials down in one transaction, those that are not there, and return their ids in order."""
        contents = [canonical_json(asdict(trial)) for trial in trials]
        ids = [sha256_text(content) for content in contents]
        with writing(self._path) as database:
            last = database.execute(
                "SELECT sequence, record_hash FROM trials ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
            sequence, previous = (last["sequence"], last["record_hash"]) if last else (0, GENESIS)
            for content, trial_id in zip(contents, ids, strict=True):
                if database.execute("SELECT 1 FROM trials WHERE trial_id = ?", (trial_id,)).fetchone() is not None:
                    continue
                sequence, before = sequence + 1, previous
                previous = sha256_text(before + trial_id)
                values = (sequence, trial_id, content, before, previous, self._clock())
                database.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", values)
        return ids

    def unknown(self, trials: Iterable[Trial]) -> int:
        """Return how many distinct ones of some trials are not written down yet."""
        with reading(self._path) as database:
            known = {row["trial_id"] for row in database.execute("SELECT trial_id FROM trials")}
        return len({trial.trial_id for trial in trials} - known)

    def count(self) -> int:
        """Return N raw: how many distinct trials were ever written down."""
        with reading(self._path) as database:
            return int(database.execute("SELECT COUNT(*) FROM trials").fetchone()[0])

    def trials(self) -> list[Trial]:
        """Return all trials, oldest first."""
        with reading(self._path) as database:
            rows = database.execute("SELECT content FROM trials ORDER BY sequence").fetchall()
        return [Trial(**json.loads(row["content"])) for row in rows]

    def digest(self) -> str:
        """Return a SHA-256 of the set of trials; it does not depend on the order in which they were written."""
        with reading(self._path) as database:
            rows = database.execute("SELECT trial_id FROM trials ORDER BY trial_id").fetchall()
        return sha256_text("".join(row["trial_id"] for row in rows))

    def first_broken(self) -> int | None:
        """Return the sequence number of the first record that is not what was written, None when all hold."""
        with reading(self._path) as database:
            rows = database.execute("SELECT * FROM trials ORDER BY sequence").fetchall()
        previous = GENESIS
        for expected, row in enumerate(rows, start=1):
            whole = row["trial_id"] == sha256_text(row["content"]) and row["previous_hash"] == previous
            if (
                row["sequence"] != expected
                or not whole
                or row["record_hash"] != sha256_text(previous + row["trial_id"])
            ):
                return expected
            previous = row["record_hash"]
        return None
