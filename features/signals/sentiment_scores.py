"""How well a sentiment model names the tone of labelled sentences, beside the lexicon and the most frequent class."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.signals.sentiment import CLASSES, LexiconSentiment, SentimentModel
from features.signals.sentiment_data import LabelledSentences

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SentimentScore:
    """Scores of one model.

    Attributes
    ----------
    name : str
    n : int
        Sentences.
    accuracy, macro_f1 : float
        A class that is neither present nor named counts with F1 0.
    f1 : dict of str to float
        By class.
    confusion : list of list of int
        Rows true, columns named, in the order of ``CLASSES``.
    """

    name: str
    n: int
    accuracy: float
    macro_f1: float
    f1: dict[str, float]
    confusion: list[list[int]]


def score_labels(name: str, truth: Int64, named: Int64) -> SentimentScore:
    """Return the scores of named classes against true ones, both int64 of shape (n,)."""
    table = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    np.add.at(table, (truth, named), 1)
    hits = np.diag(table).astype(np.float64)
    total = table.sum(axis=0) + table.sum(axis=1)
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return SentimentScore(
        name,
        len(truth),
        float(hits.sum() / max(len(truth), 1)),
        float(f1.mean()),
        {label: float(value) for label, value in zip(CLASSES, f1, strict=True)},
        table.tolist(),
    )


def evaluate_sentiment(model: SentimentModel, data: LabelledSentences) -> tuple[SentimentScore, ...]:
    """Return the scores of the model, of the lexicon and of the most frequent class, in that order."""
    lexicon = LexiconSentiment()
    models: tuple[SentimentModel, ...] = (model,) if isinstance(model, LexiconSentiment) else (model, lexicon)
    found = [score_labels(each.name, data.labels, each.probabilities(data.texts).argmax(axis=1)) for each in models]
    most = np.full(len(data.labels), np.bincount(data.labels, minlength=len(CLASSES)).argmax(), np.int64)
    return (*found, score_labels("most frequent class", data.labels, most))
