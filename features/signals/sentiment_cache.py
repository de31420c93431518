"""Scores of texts kept on disk, by the hash of the text and of the model, so that no text is scored twice.

One SQLite file a model in the user's cache folder (``FLOWSENSE_CACHE``); several processes may use it at once. It can be deleted
at any time.
"""

import hashlib
import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from features.signals.sentiment import CLASSES, SentimentModel
from marketdata.environment import cache_folder

Float64 = npt.NDArray[np.float64]

DECIMALS: Final = 4
"""Probabilities are rounded to these, kept or not: a text's score hangs on its batch in the seventh decimal."""
WAIT_S: Final = 30.0
QUESTION: Final = 500
"""Texts that are looked up at once."""

_log = logging.getLogger(__name__)


def model_hash(folder: Path) -> str:
    """Return the SHA-256 of a model's files, by name: weights, configuration, tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name != "training.json"):
        digest.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


class CachedSentiment:
    """A model whose probabilities are looked up first, and kept.

    A file that cannot be opened or written costs a warning and the speed, never a score.
    """

    def __init__(self, model: SentimentModel, key: str, folder: Path | None = None) -> None:
        self._model = model
        self.name = model.name
        self.path = (folder or cache_folder() / "sentiment") / f"{key}.sqlite"

    def score(self, texts: Sequence[str]) -> Float64:
        """Return P(positive) - P(negative) of each text."""
        probability = self.probabilities(texts)
        return probability[:, 2] - probability[:, 0]

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """Return the classes' probabilities to four decimals, shape (n, 3); each text is scored at most once."""
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        found = self._known(keys)
        fresh = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if fresh:
            made = np.round(self._model.probabilities(list(fresh.values())), DECIMALS)
            rows = dict(zip(fresh, made.tolist(), strict=True))
            self._keep(rows)
            found.update(rows)
        return np.array([found[key] for key in keys], np.float64).reshape(len(keys), len(CLASSES))

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self.path, timeout=WAIT_S)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "CREATE TABLE IF NOT EXISTS score (text BLOB PRIMARY KEY, a REAL, b REAL, c REAL) WITHOUT ROWID"
        )
        return database

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, list[float]]:
        found: dict[bytes, list[float]] = {}
        try:
            with closing(self._open()) as database:
                for start in range(0, len(keys), QUESTION):
                    part = list(set(keys[start : start + QUESTION]))
                    marks = ",".join("?" * len(part))
                    rows = database.execute(f"SELECT text, a, b, c FROM score WHERE text IN ({marks})", part)
                    found.update({row[0]: list(row[1:]) for row in rows})
        except (sqlite3.Error, OSError) as error:
            _log.warning("scores are not read from %s: %s", self.path, error)
        return found

    def _keep(self, rows: dict[bytes, list[float]]) -> None:
        try:
            with closing(self._open()) as database, database:
                lines = [(key, *values) for key, values in rows.items()]
                database.executemany("INSERT OR IGNORE INTO score VALUES (?, ?, ?, ?)", lines)
        except (sqlite3.Error, OSError) as error:
            _log.warning("scores are not kept in %s: %s", self.path, error)
