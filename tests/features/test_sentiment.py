"""The classifier's label order is read from the model; other labels are refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from features.signals.sentiment import LexiconSentiment, TransformerSentiment, build_sentiment
from features.signals.sentiment_cache import CachedSentiment, model_hash
from features.signals.sentiment_data import LabelledSentences
from features.signals.sentiment_words import WordSentiment, fit_words, save_words


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSENSE_CACHE", str(tmp_path / "cache"))


def _tiny_model(folder: Path, labels: list[str]) -> Path:
    """Write a random three-class BERT with a vocabulary of a few words, as a folder that transformers can load."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(3)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "profit", "loss", "rose", "fell"]
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        num_labels=3,
        id2label=dict(enumerate(labels)),
        label2id={label: k for k, label in enumerate(labels)},
    )
    folder.mkdir()
    BertForSequenceClassification(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


def test_a_permuted_label_order_gives_the_score_of_the_named_classes(tmp_path: Path) -> None:
    texts = ["profit rose", "loss fell", "profit"] * 20
    first = TransformerSentiment(_tiny_model(tmp_path / "a", ["positive", "negative", "neutral"])).score(texts)
    other = TransformerSentiment(_tiny_model(tmp_path / "b", ["negative", "positive", "neutral"])).score(texts)
    assert first.shape == (60,)
    assert (np.abs(first) <= 1).all()
    np.testing.assert_allclose(first, -other, atol=1e-12)
    assert np.ptp(first) > 0


def test_a_model_with_other_labels_is_refused(tmp_path: Path) -> None:
    folder = _tiny_model(tmp_path / "c", ["bullish", "bearish", "neutral"])
    with pytest.raises(ValueError, match="bearish"):
        build_sentiment(folder)


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        build_sentiment(tmp_path / "nowhere")


def test_without_a_model_the_lexicon_scores_words_and_turns_negated_ones() -> None:
    model = build_sentiment(None)
    assert isinstance(model, LexiconSentiment)
    texts = ["Profit growth is strong", "a terrible loss", "not bad", "the meeting is on Monday", "profit and loss"]
    got = model.score(texts)
    assert got.tolist() == [1.0, -1.0, 1.0, 0.0, 0.0]


class _Counting:
    """Scores a text by its length, and counts the texts that it was asked for."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, texts: Sequence[str]) -> np.ndarray:
        return self.probabilities(texts)[:, 2] - self.probabilities(texts)[:, 0]

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        share = np.array([len(text) for text in texts]) / 100
        return np.stack([1 - share, np.zeros(len(texts)), share], axis=1)


def test_a_text_is_scored_once_and_a_score_that_cannot_be_kept_is_made_again(tmp_path: Path) -> None:
    model = _Counting()
    first = CachedSentiment(model, "key", tmp_path)
    texts = ["a", "bb", "a", "ccc"]
    found = first.score(texts)
    assert found.tolist() == pytest.approx([-0.98, -0.96, -0.98, -0.94])
    assert model.asked == ["a", "bb", "ccc"]
    again = CachedSentiment(_Counting(), "key", tmp_path)
    assert again.score([*texts, "dddd"]).tolist()[:4] == found.tolist()
    assert again._model.asked == ["dddd"], "another process reads what was kept"  # type: ignore[attr-defined]  # ours
    CachedSentiment(model, "other", tmp_path).score(["a"])
    assert model.asked[-1] == "a", "another model's scores are not its own"
    (tmp_path / "no").write_text("a file where a folder should be")
    broken = CachedSentiment(model, "key", tmp_path / "no")
    assert broken.score(texts).tolist() == found.tolist()


def test_a_models_key_is_that_of_its_bytes(tmp_path: Path) -> None:
    one = _tiny_model(tmp_path / "a", ["positive", "negative", "neutral"])
    key = model_hash(one)
    (one / "training.json").write_text("{}")
    assert model_hash(one) == key
    config = one / "config.json"
    config.write_text(config.read_text().replace("positive", "neutral"))
    assert model_hash(one) != key


def test_words_are_saved_without_pickle_and_read_with_their_labels(tmp_path: Path) -> None:
    texts = [f"{tone} number {k}" for k in range(8) for tone in ("withered", "meeting", "flourished")]
    data = LabelledSentences(tuple(texts), np.tile([0, 1, 2], 8).astype(np.int64), 0, "")
    save_words(fit_words(data), tmp_path / "w")
    model = build_sentiment(tmp_path / "w")
    assert model.name == "words:w"
    found = model.probabilities(["it withered", "they flourished 7", "a meeting"])
    assert found.argmax(axis=1).tolist() == [0, 2, 1]
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert model.probabilities([]).shape == (0, 3)
    config = tmp_path / "w" / "config.json"
    config.write_text(config.read_text().replace("neutral", "bullish"))
    with pytest.raises(ValueError, match="bullish"):
        build_sentiment(tmp_path / "w")


def test_words_score_a_text_the_same_in_whatever_batch_it_comes(tmp_path: Path) -> None:
    words = ("sales", "profit", "loss", "order", "rose", "fell", "plant", "bank", "in", "the", "of", "EUR", "12.5", "a")
    rng = np.random.default_rng(4)
    texts = [" ".join(rng.choice(words, int(rng.integers(1, 25)))) for _ in range(67)]
    labels = rng.integers(0, 3, len(texts)).astype(np.int64)
    save_words(fit_words(LabelledSentences(tuple(texts), labels, 0, "")), tmp_path / "words")
    model = WordSentiment(tmp_path / "words")
    whole = model.probabilities(texts)
    assert np.ptp(whole[:, 0]) > 0.2, "the texts differ"
    for size in (1, 3, 8):
        parts = [model.probabilities(texts[k : k + size]) for k in range(0, len(texts), size)]
        assert np.concatenate(parts).tobytes() == whole.tobytes(), size
    order = rng.permutation(len(texts))
    shuffled = model.probabilities([texts[k] for k in order])
    assert shuffled.tobytes() == np.ascontiguousarray(whole[order]).tobytes()
    beside = model.score(["x" * 5_000, texts[0], ""])
    assert beside[1] == model.score(texts[:1])[0]
