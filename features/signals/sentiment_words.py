"""A classifier of words and letter groups: TF-IDF and a logistic head, for where no pretrained encoder is at hand.

It trains in seconds, and on a few thousand sentences it names tones better than a small encoder that starts from nothing.
Its folder holds ``config.json`` (with ``id2label``) and ``model.skops``: no pickle.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.signals.sentiment import CLASSES, SentimentModelError, class_columns
from features.signals.sentiment_data import LabelledSentences

Float64 = npt.NDArray[np.float64]

MODEL_TYPE: Final = "flowsense-words"
"""``model_type`` of the folder's ``config.json``."""
MODEL_FILE: Final = "model.skops"
PENALTY: Final = 20.0
"""Inverse strength of the ridge; 10 and 30 gave the same macro-F1 within 0.003 by five-fold cross-validation."""

_NUMBER: Final = re.compile(r"\d[\d.,]*")


def normal_text(text: str) -> str:
    """Return a text in lower case with every number as ``0``: which number says nothing, that there is one does."""
    return _NUMBER.sub(" 0 ", text.lower())


def fit_words(data: LabelledSentences) -> Any:
    """Return a fitted scikit-learn pipeline: one to three words and two to five letters, logistic, classes weighed alike."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    words = TfidfVectorizer(lowercase=False, ngram_range=(1, 3), sublinear_tf=True, token_pattern=r"[a-z']+|[-+%0]")
    letters = TfidfVectorizer(lowercase=False, analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2)
    head = LogisticRegression(C=PENALTY, class_weight="balanced", max_iter=2_000)
    model = make_pipeline(make_union(words, letters), head)
    model.fit([normal_text(text) for text in data.texts], data.labels)
    return model


def save_words(model: Any, folder: Path) -> None:
    """Write a fitted pipeline into a folder, which is made."""
    import skops.io

    folder.mkdir(parents=True)
    labels = {str(k): CLASSES[int(name)] for k, name in enumerate(model.classes_)}
    config = {"model_type": MODEL_TYPE, "id2label": labels}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    skops.io.dump(model, folder / MODEL_FILE)


class WordSentiment:
    """A classifier that :func:`save_words` wrote.

    Raises
    ------
    SentimentModelError
        If its classes are not exactly positive, negative and neutral, or its file holds types that are not plain
        scikit-learn's.
    """

    def __init__(self, folder: Path) -> None:
        import skops.io

        path = folder / MODEL_FILE
        if not path.is_file():
            raise SentimentModelError(f"{folder}: {MODEL_FILE} is missing")
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self._columns = class_columns(folder, config["id2label"])
        unknown = skops.io.get_untrusted_types(file=path)
        if unknown:
            raise SentimentModelError(f"{path}: holds types that are not read: {', '.join(sorted(unknown))}")
        self._model: Any = skops.io.load(path)
        self.name = f"words:{folder.name}"

    def score(self, texts: Sequence[str]) -> Float64:
        """Return P(positive) - P(negative) of each text."""
        probability = self.probabilities(texts)
        return probability[:, 2] - probability[:, 0]

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """Return the classes' probabilities, shape (n, 3), columns as ``CLASSES``."""
        if not texts:
            return np.empty((0, len(CLASSES)))
        found: Float64 = np.asarray(self._model.predict_proba([normal_text(text) for text in texts]), np.float64)
        return found[:, self._columns]
