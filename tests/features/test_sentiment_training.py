"""A classifier is fine-tuned on labelled sentences, scored on others, saved whole, and scored again the same."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from features.signals.sentiment import LexiconSentiment, SentimentModelError, build_sentiment
from features.signals.sentiment_data import LabelledDataError, read_labelled, split_by_hash
from features.signals.sentiment_scores import evaluate_sentiment, score_labels
from features.signals.sentiment_training import SCRATCH, WORDS, SentimentTraining, train_sentiment

SUBJECTS = ("the firm", "its unit", "the bank", "the maker", "the miner", "the group", "the chain", "the lender")
OBJECTS = ("orders", "sales", "output", "margins", "bookings", "exports", "deliveries", "fees")
ENDINGS = {
    "positive": ("blossomed", "flourished", "thrived"),
    "negative": ("withered", "languished", "stalled"),
    "neutral": ("stood as stated", "were as planned", "came as usual"),
}


def _sentences(folder: Path) -> Path:
    """Write sentences whose tone hangs on words that the lexicon does not know."""
    rows = [
        {"sentence": f"{subject} said {thing} {ending}", "label": label}
        for subject in SUBJECTS
        for thing in OBJECTS
        for label, endings in ENDINGS.items()
        for ending in endings
    ]
    path = folder / "sentences.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentiment")
    data = read_labelled(_sentences(folder))
    training = SentimentTraining(passes=3, batch=8, learning_rate=1e-3, refit=False)
    made = train_sentiment(data, folder / "model", base=SCRATCH, training=training)
    ours, lexicon, most = made.scores
    assert ours.macro_f1 > 0.9, "words that name the tone are learned in three passes"
    assert lexicon.macro_f1 < 0.3, "the lexicon knows none of them"
    assert most.macro_f1 < 0.3
    return folder


def test_a_saved_classifier_scores_as_it_did_and_holds_no_pickle(trained: Path) -> None:
    names = {path.name for path in (trained / "model").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "training.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pkl", ".pt"))]
    record = json.loads((trained / "model" / "training.json").read_text())
    data = read_labelled(trained / "sentences.csv")
    _, held = split_by_hash(data, record["training"]["holdout"], record["training"]["seed"])
    again = evaluate_sentiment(build_sentiment(trained / "model"), data.part(held))
    assert again[0].confusion == record["held_back"][0]["confusion"]
    assert record["data_sha256"] == data.sha256


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWSENSE_CACHE", str(tmp_path / "cache"))


def test_evaluate_prints_accuracy_and_macro_f1(trained: Path) -> None:
    from orchestration.cli.main import app

    command = ["sentiment", "evaluate", "--model", str(trained / "model"), "--data", str(trained / "sentences.csv")]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "accuracy 0.9" in shown.output or "accuracy 1.0" in shown.output
    assert "macro-F1" in shown.output
    given = CliRunner().invoke(app, [*command, "--json"])
    assert {"accuracy", "macro_f1", "n"} <= set(json.loads(given.output)[0])


def test_training_leaves_nothing_behind_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    path.write_text("sentence,label\nup it goes,positive\ndown it goes,negative\n")
    with pytest.raises(ValueError, match="every side"):
        train_sentiment(read_labelled(path), tmp_path / "model", base=SCRATCH)
    assert [p.name for p in tmp_path.iterdir()] == ["two.csv"]


def test_an_existing_folder_is_not_overwritten(trained: Path) -> None:
    with pytest.raises(FileExistsError, match="name a new folder"):
        train_sentiment(read_labelled(trained / "sentences.csv"), trained / "model", base=SCRATCH)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("sentence,tone\na,positive\n", "column label"),
        ("sentence,label\na,bullish\n", "row 2: label 'bullish'"),
        ("sentence,label\n,positive\n", "row 2: sentence is empty"),
        ("sentence,label\n", "no rows"),
    ],
)
def test_a_bad_file_is_named_with_row_and_field(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(content)
    with pytest.raises(LabelledDataError, match=said):
        read_labelled(path)


def test_repeats_that_differ_in_punctuation_are_read_once_and_never_split(tmp_path: Path) -> None:
    path = tmp_path / "repeats.csv"
    lines = [
        f'"Sales of unit {k} rose , it said .",positive\n"sales of unit {k} rose, it said",neutral' for k in range(50)
    ]
    path.write_text("sentence,label\n" + "\n".join(lines) + "\n")
    data = read_labelled(path)
    assert len(data.texts) == 50
    assert data.dropped == 50
    assert len(read_labelled(path, unique=False).texts) == 100
    kept, held = split_by_hash(data, 0.2, 3)
    assert len(held) == 10
    assert set(kept) | set(held) == set(range(50))


def test_a_base_without_a_checkpoint_or_with_pickled_weights_is_refused(tmp_path: Path, trained: Path) -> None:
    data = read_labelled(trained / "sentences.csv")
    with pytest.raises(SentimentModelError, match="no checkpoint"):
        train_sentiment(data, tmp_path / "m", base=str(tmp_path / "none"))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text("{}")
    (pickled / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(SentimentModelError, match="pickle"):
        train_sentiment(data, tmp_path / "m", base=str(pickled))


def test_a_trained_classifier_can_be_the_base_of_the_next(tmp_path: Path, trained: Path) -> None:
    data = read_labelled(trained / "sentences.csv")
    training = SentimentTraining(passes=1, batch=64, refit=False, learning_rate=1e-5)
    made = train_sentiment(data, tmp_path / "next", base=str(trained / "model"), training=training)
    assert made.scores[0].macro_f1 > 0.9, "it starts from what the base knows"


def test_macro_f1_is_the_mean_over_all_three_classes() -> None:
    truth = np.array([0, 0, 1, 1, 2, 2])
    named = np.array([0, 1, 1, 1, 2, 0])
    found = score_labels("x", truth, named)
    # F1: negative 2·1/(2+2), neutral 2·2/(2+3), positive 2·1/(2+1)
    assert found.macro_f1 == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert found.accuracy == pytest.approx(4 / 6)
    assert score_labels("y", truth[:2], named[:2]).f1["positive"] == 0.0


def test_the_lexicon_names_classes_by_the_sign_of_its_score() -> None:
    texts = ["profit rose", "a terrible loss", "the meeting is on Monday"]
    assert LexiconSentiment().probabilities(texts).argmax(axis=1).tolist() == [2, 0, 1]


def test_an_encoder_without_a_head_is_read_by_the_mean_over_its_tokens_wherever_it_is_loaded(
    tmp_path: Path, trained: Path
) -> None:
    from transformers import AutoModel, AutoTokenizer

    bare = tmp_path / "bare"
    AutoModel.from_pretrained(trained / "model").save_pretrained(bare)
    AutoTokenizer.from_pretrained(trained / "model").save_pretrained(bare)
    data = read_labelled(trained / "sentences.csv")
    training = SentimentTraining(passes=1, batch=64, learning_rate=1e-4)
    train_sentiment(data, tmp_path / "made", base=str(bare), training=training)
    assert json.loads((tmp_path / "made" / "config.json").read_text())["flowsense_pooling"] == "mean"
    model = build_sentiment(tmp_path / "made")
    alone, beside = model.probabilities(data.texts[:1]), model.probabilities(data.texts[:40])
    np.testing.assert_allclose(alone[0], beside[0], atol=2e-4, err_msg="padding is no token")


@pytest.mark.realdata
def test_on_the_phrase_bank_words_beat_the_lexicon(shared_data: Path, tmp_path: Path) -> None:
    data = read_labelled(shared_data / "social" / "financial_phrasebank" / "phrasebank_80pct.csv.gz")
    made = train_sentiment(data, tmp_path / "model", base=WORDS, training=SentimentTraining(refit=False))
    ours, lexicon, most = made.scores
    assert ours.n == 774
    assert lexicon.macro_f1 == pytest.approx(0.618, abs=0.01)
    assert ours.macro_f1 > lexicon.macro_f1 + 0.08, "0.758 when it was measured"
    assert most.macro_f1 < 0.3


@pytest.mark.realdata
def test_on_the_phrase_bank_a_classifier_from_scratch_learns_tones(shared_data: Path, tmp_path: Path) -> None:
    data = read_labelled(shared_data / "social" / "financial_phrasebank" / "phrasebank_80pct.csv.gz")
    training = SentimentTraining(passes=4, batch=32, refit=False)
    made = train_sentiment(data, tmp_path / "model", base=SCRATCH, training=training)
    ours, lexicon, most = made.scores
    # So short a training reached 0.51 on 774 sentences, above the most frequent class (0.25) and below the lexicon (0.62);
    # the command's own settings reached 0.645. This test is of the way from file to scores, not of the recipe.
    assert ours.macro_f1 > most.macro_f1 + 0.1
    assert lexicon.macro_f1 == pytest.approx(0.618, abs=0.01)
