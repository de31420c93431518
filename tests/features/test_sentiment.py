"""The classifier's label order is read from the model; other labels are refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from features.signals.sentiment import LexiconSentiment, build_sentiment


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
    first = build_sentiment(_tiny_model(tmp_path / "a", ["positive", "negative", "neutral"])).score(texts)
    other = build_sentiment(_tiny_model(tmp_path / "b", ["negative", "positive", "neutral"])).score(texts)
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
