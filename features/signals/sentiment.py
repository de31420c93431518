"""Sentiment of a text in [-1, 1]: a small finance lexicon, or a FinBERT-like classifier from a local folder."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

CLASSES: Final = ("negative", "neutral", "positive")
"""The three tones, in the order of the columns of :meth:`SentimentModel.probabilities`."""
MEAN_POOLING: Final = "flowsense_pooling"
LABELS: Final = frozenset(CLASSES)
"""Names a classifier's classes must have, exactly; their order is read from the model."""

POSITIVE_WORDS: Final = frozenset(
    """
    accelerate accelerated accumulate advance advanced advances beat beats benefit best better boost boosted boosts
    breakout bull bullish buy buyers climb climbed climbs confident excellent exceed exceeded exceeds expand expanded
    expansion gain gained gains great grew grow growing grown grows growth high higher impressed improve improved
    improvement improves increase increased increases jump jumped jumps lead leading moon outperform outperformed profit
    profitable profits progress rallied rally raise raised raises rebound rebounded record recover recovered recovery
    rise rises rising rose solid soar soared soars strength strengthen strengthened strong stronger success successful
    surge surged surges top up upgrade upgraded upside win winner wins won
    """.split()  # noqa: SIM905  a word list reads better as text
)
NEGATIVE_WORDS: Final = frozenset(
    """
    bad bankrupt bankruptcy bear bearish below breakdown collapse collapsed crash crashed cut cuts debt decline declined
    declines declining decrease decreased decreases default deficit delay delayed dip disappoint disappointed
    disappointing downgrade downgraded downside down drop dropped drops dump dumped fail failed fall fallen falling
    falls fear fell fraud hack hacked investigation lawsuit layoff layoffs liquidated liquidation lose loses losing loss
    losses lost low lower miss missed misses negative plunge plunged poor recession reduce reduced risk scam sell
    sellers selloff shortage shrink slid slip slipped slow slowdown slump slumped sue sued terrible tumble tumbled
    underperform warn warned warning weak weaken weakened weaker worried worry worse worst
    """.split()  # noqa: SIM905  a word list reads better as text
)
NEGATIONS: Final = frozenset(
    {"no", "not", "never", "without", "isn't", "wasn't", "don't", "doesn't", "didn't", "won't"}
)

_WORD: Final = re.compile(r"[a-z]+(?:'[a-z]+)?")


class SentimentModelError(ValueError):
    """A classifier cannot be used; the message says why."""


class SentimentModel(Protocol):
    """Scores texts; ``name`` is kept in the manifest of what it made."""

    @property
    def name(self) -> str:
        """What made the score, for reports."""
        ...

    def score(self, texts: Sequence[str]) -> Float64:
        """Return one score a text, shape (n,), in [-1, 1]: probability of positive minus negative, or its like."""
        ...

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """Return the probability of each class, shape (n, 3), columns as :data:`CLASSES`; rows sum to 1."""
        ...


class LexiconSentiment:
    """Counts words of two short lists; a negation up to two words before turns a word round.

    It knows no context and no irony: it stands in where no classifier is at hand.
    """

    name: Final = "lexicon"

    def score(self, texts: Sequence[str]) -> Float64:
        """Return (positive - negative) / (positive + negative) words of each text, 0 where it has neither."""
        return np.array([self._one(text) for text in texts], dtype=np.float64)

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """Return all weight on the class that the sign of the score says: word counts carry no probabilities."""
        column = np.sign(self.score(texts)).astype(np.int64) + 1
        return np.eye(len(CLASSES))[column]

    def _one(self, text: str) -> float:
        words = _WORD.findall(text.lower())
        total, signed = 0, 0
        for k, word in enumerate(words):
            tone = (word in POSITIVE_WORDS) - (word in NEGATIVE_WORDS)
            if tone:
                total += 1
                signed += -tone if NEGATIONS.intersection(words[max(0, k - 2) : k]) else tone
        return signed / total if total else 0.0


def class_columns(folder: Path, id2label: Mapping[Any, str]) -> list[int]:
    """Return in which column of a model's output each of :data:`CLASSES` stands.

    Raises
    ------
    SentimentModelError
        If the labels are not exactly positive, negative and neutral.
    """
    labels = {int(k): str(label).lower() for k, label in id2label.items()}
    if sorted(labels.values()) != sorted(LABELS):
        raise SentimentModelError(f"{folder}: labels {sorted(labels.values())} are not {sorted(LABELS)}")
    index = {label: k for k, label in labels.items()}
    return [index[label] for label in CLASSES]


def class_logits(model: Any, tokens: Any) -> Any:
    """Return a classifier's logits, shape (batch, 3), for what its tokenizer gave.

    A model whose configuration says ``flowsense_pooling: mean`` reads its head off the mean over the tokens, as encoders of
    sentences are made to be read; any other is called as it is.
    """
    if getattr(model.config, MEAN_POOLING, None) != "mean":
        return model(**tokens).logits
    hidden = model.base_model(**tokens).last_hidden_state
    mask = tokens["attention_mask"][..., None].to(hidden.dtype)
    return model.classifier(model.dropout((hidden * mask).sum(dim=1) / mask.sum(dim=1)))


class TransformerSentiment:
    """A three-class text classifier of the ``transformers`` library (FinBERT), loaded from a local folder.

    Raises
    ------
    SentimentModelError
        If the model's labels are not exactly positive, negative and neutral: their order differs between published
        models, so it is always read from ``id2label``.
    """

    def __init__(self, folder: Path, *, batch: int = 32, max_tokens: int = 128) -> None:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        self._model: Any = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
        self._columns = class_columns(folder, self._model.config.id2label)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self._batch, self._max_tokens = batch, max_tokens
        self.name = f"transformer:{folder.name}"

    def score(self, texts: Sequence[str]) -> Float64:
        """Return P(positive) - P(negative) of each text."""
        probability = self.probabilities(texts)
        return probability[:, 2] - probability[:, 0]

    def probabilities(self, texts: Sequence[str]) -> Float64:
        """Return the classes' probabilities, in batches of texts of like length, without gradients."""
        import torch

        # Batches of like length pad little; which texts share a batch moves a probability by float32 rounding only.
        order = sorted(range(len(texts)), key=lambda k: len(texts[k]))
        found = np.empty((len(texts), len(CLASSES)), np.float64)
        for start in range(0, len(texts), self._batch):
            places = order[start : start + self._batch]
            part = [texts[k] for k in places]
            tokens = self._tokenizer(
                part, padding=True, truncation=True, max_length=self._max_tokens, return_tensors="pt"
            )
            with torch.no_grad():
                probability = torch.softmax(class_logits(self._model, tokens).double(), dim=-1).numpy()
            found[places] = probability[:, self._columns]
        return found


def build_sentiment(model_dir: Path | None) -> SentimentModel:
    """Return the classifier in ``model_dir``, or the lexicon where none is given.

    What a transformer said of a text is kept on disk and looked up again, see ``sentiment_cache``.

    Raises
    ------
    SentimentModelError
        If the folder is missing or its model has other labels.
    """
    if model_dir is None:
        return LexiconSentiment()
    path = model_dir / "config.json"
    if not path.exists():
        raise SentimentModelError(f"{model_dir}: no sentiment model there (config.json is missing)")
    from features.signals.sentiment_cache import CachedSentiment, model_hash
    from features.signals.sentiment_words import MODEL_TYPE, WordSentiment

    if json.loads(path.read_text(encoding="utf-8")).get("model_type") == MODEL_TYPE:
        return WordSentiment(model_dir)
    return CachedSentiment(TransformerSentiment(model_dir), model_hash(model_dir))
