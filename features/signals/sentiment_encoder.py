"""Fit a three-class encoder with torch: on top of a pretrained one, or a small one from random weights.

A pretrained encoder without a head of its own is read by the mean over its tokens, its word vectors stay as they are, and where
the processor multiplies bfloat16 in tiles (AMX) the fit does: about four times as fast, the weights stay float32.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from features.signals.sentiment import CLASSES, MEAN_POOLING, class_logits
from features.signals.sentiment_data import LabelledSentences
from features.signals.sentiment_scores import score_labels

if TYPE_CHECKING:
    from features.signals.sentiment_training import SentimentTraining

SCRATCH_VOCABULARY: Final = 6_000
SCRATCH_RATE: Final = 5e-4
ENCODER_RATE: Final = 1.5e-4
TUNED_RATE: Final = 5e-5
HEAD_RATE: Final = 1e-3
"""Peak learning rates: from scratch, of a bare encoder, of one that was a classifier already, and of a new head."""

Progress = Callable[[str, int, int], None]
Int64 = npt.NDArray[np.int64]


@dataclass(slots=True)
class FittedEncoder:
    """A fitted classifier: the number of passes at which the inner macro-F1 was best, and its course."""

    model: Any
    tokenizer: Any
    passes: int
    inner_f1: list[float]

    def save(self, folder: Path) -> None:
        """Write configuration, weights and tokenizer as ``transformers`` reads them."""
        self.model.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)


def fit_encoder(
    data: LabelledSentences,
    inner: LabelledSentences | None,
    source: Path | None,
    how: "SentimentTraining",
    passes: int,
    say: Progress,
    stage: str,
) -> FittedEncoder:
    """Fit a fresh classifier; with ``inner``, name the number of passes at which its macro-F1 there was best."""
    import torch
    from transformers import get_linear_schedule_with_warmup

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        model, tokenizer = _fresh(data, source, how)
        groups = _rates(model, source, how)
        trained = [weight for group in groups for weight in group["params"]]
        optimiser = torch.optim.AdamW(groups, weight_decay=how.weight_decay, fused=True)
        a_pass = -(-len(data.texts) // how.batch)
        schedule = get_linear_schedule_with_warmup(optimiser, a_pass * passes // 10, a_pass * passes)
        counts = np.bincount(data.labels, minlength=len(CLASSES))
        # Square roots stand between ignoring rare classes and letting a few hard sentences rule.
        weight = torch.tensor(np.sqrt(counts.sum() / (len(CLASSES) * counts)), dtype=torch.float32)
        rng = np.random.default_rng(how.seed)
        scores: list[float] = []
        for done in range(passes):
            model.train()
            for step, rows in enumerate(_batches(data, how.batch, rng)):
                tokens = _tokens(tokenizer, [data.texts[k] for k in rows], how.max_tokens)
                with _tiles() if source is not None else nullcontext():
                    logits = class_logits(model, tokens).float()
                loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(data.labels[rows]), weight=weight)
                optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 1.0)
                optimiser.step()
                schedule.step()
                say(stage, done * a_pass + step + 1, passes * a_pass)
            if inner is not None:
                named = _named(model.eval(), tokenizer, inner, how)
                scores.append(score_labels("inner", inner.labels, named).macro_f1)
    best = int(np.argmax(scores)) + 1 if scores else passes
    return FittedEncoder(model.eval(), tokenizer, best, scores)


def _tiles() -> Any:
    """Return the context that multiplies in bfloat16 where the processor has tiles for it, else none."""
    import torch

    if getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)():
        return torch.autocast("cpu", dtype=torch.bfloat16)
    return nullcontext()


def _rates(model: Any, source: Path | None, how: "SentimentTraining") -> list[dict[str, Any]]:
    """Return the trained weights in groups with their peak rates; word vectors of a pretrained encoder are not trained."""
    if source is None:
        return [{"params": list(model.parameters()), "lr": how.learning_rate or SCRATCH_RATE}]
    for weight in model.base_model.embeddings.parameters():
        weight.requires_grad = False
    if getattr(model.config, MEAN_POOLING, None) != "mean":
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        return [{"params": trained, "lr": how.learning_rate or TUNED_RATE}]
    encoder = [weight for weight in model.base_model.encoder.parameters() if weight.requires_grad]
    return [
        {"params": encoder, "lr": how.learning_rate or ENCODER_RATE},
        {"params": list(model.classifier.parameters()), "lr": max(how.learning_rate or 0.0, HEAD_RATE)},
    ]


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


def _named(model: Any, tokenizer: Any, data: LabelledSentences, how: "SentimentTraining") -> Int64:
    import torch

    found = []
    with torch.no_grad():
        for start in range(0, len(data.texts), 64):
            tokens = _tokens(tokenizer, list(data.texts[start : start + 64]), how.max_tokens)
            found.append(class_logits(model, tokens).argmax(dim=1).numpy())
    return np.concatenate(found).astype(np.int64)


def _fresh(data: LabelledSentences, source: Path | None, how: "SentimentTraining") -> tuple[Any, Any]:
    """Return an untrained classifier over the base, and its tokenizer."""
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, BertConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    names = {"id2label": dict(enumerate(CLASSES)), "label2id": {label: k for k, label in enumerate(CLASSES)}}
    if source is not None:
        model = AutoModelForSequenceClassification.from_pretrained(
            source, local_files_only=True, num_labels=len(CLASSES), ignore_mismatched_sizes=True, **names
        )
        was = AutoConfig.from_pretrained(source, local_files_only=True)
        if was.model_type == "bert" and not any("Classification" in str(name) for name in was.architectures or ()):
            setattr(model.config, MEAN_POOLING, "mean")
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
