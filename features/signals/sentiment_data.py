"""Labelled sentences: read, checked, freed of repeats, split so that no sentence is on both sides."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.sentiment import CLASSES

TEXT_COLUMNS: Final = ("sentence", "text")
"""Names under which the text may stand; the first that is there is taken."""
LABEL_COLUMN: Final = "label"

_OTHER: Final = re.compile(r"[^a-z0-9]+")


class LabelledDataError(ValueError):
    """A file of labelled sentences cannot be used; the message names file, row and field."""


@dataclass(frozen=True, slots=True)
class LabelledSentences:
    """Sentences with their tone.

    Attributes
    ----------
    texts : tuple of str
    labels : int64 array, shape (n,)
        Index into ``CLASSES``.
    dropped : int
        Rows left out because the same sentence stood before (with whatever label).
    sha256 : str
        Of the file.
    """

    texts: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    dropped: int
    sha256: str

    def part(self, rows: npt.NDArray[np.int64]) -> "LabelledSentences":
        """Return the given rows."""
        return LabelledSentences(tuple(self.texts[k] for k in rows), self.labels[rows], 0, self.sha256)


def same_sentence_key(text: str) -> str:
    """Return letters and digits of a text, in lower case: repeats differ in punctuation and spaces only."""
    return _OTHER.sub("", text.lower())


def read_labelled(path: Path, *, unique: bool = True) -> LabelledSentences:
    """Read a CSV (also gzipped) with columns ``sentence`` (or ``text``) and ``label``.

    Parameters
    ----------
    unique : bool
        Whether to drop a sentence that came before; an evaluation counts every row.

    Raises
    ------
    LabelledDataError
        If the file is missing, lacks a column, holds no rows, an empty sentence, or a label that is not one of ``CLASSES``.
    """
    if not path.is_file():
        raise LabelledDataError(f"{path}: no such file")
    try:
        frame = pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise LabelledDataError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    text_column = next((name for name in TEXT_COLUMNS if name in frame.columns), None)
    if text_column is None or LABEL_COLUMN not in frame.columns:
        have = ", ".join(frame.columns)
        raise LabelledDataError(f"{path}: needs a column sentence (or text) and a column label, has {have}")
    index = {name: k for k, name in enumerate(CLASSES)}
    texts, labels, seen, dropped = [], [], set(), 0
    for row, (text, label) in enumerate(frame.select(text_column, LABEL_COLUMN).iter_rows(), start=2):
        tone = index.get(str(label).strip().lower())
        if tone is None:
            raise LabelledDataError(f"{path}: row {row}: label {label!r} is not one of {', '.join(CLASSES)}")
        if text is None or not str(text).strip():
            raise LabelledDataError(f"{path}: row {row}: {text_column} is empty")
        key = same_sentence_key(text)
        if unique and key in seen:
            dropped += 1
            continue
        seen.add(key)
        texts.append(str(text).strip())
        labels.append(tone)
    if not texts:
        raise LabelledDataError(f"{path}: no rows")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return LabelledSentences(tuple(texts), np.array(labels, np.int64), dropped, digest)


def split_by_hash(
    data: LabelledSentences, share: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return (kept, held back) rows: about ``share`` of each class is held back, chosen by a hash of the sentence.

    The choice depends on the sentence and the seed alone, so that more data does not move a sentence to the other side of
    the rank within its class by much, and a repeat can never be on both.
    """
    rank = [
        hashlib.sha256(f"{seed}:{same_sentence_key(text)}".encode()).digest() for text in data.texts
    ]  # one draw a sentence
    held = []
    for tone in range(len(CLASSES)):
        rows = sorted(np.flatnonzero(data.labels == tone).tolist(), key=rank.__getitem__)
        held.extend(rows[: round(share * len(rows))])
    chosen = np.zeros(len(data.texts), np.bool_)
    chosen[held] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
