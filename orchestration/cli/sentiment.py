"""Commands about the tone of posts: ``sentiment train``, ``sentiment evaluate``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from orchestration.cli.console import StageProgress, out

if TYPE_CHECKING:
    from features.signals.sentiment_scores import SentimentScore

sentiment_app = typer.Typer(help="Classifiers of the tone of posts.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    sentiment_app.command("train")(train)
    sentiment_app.command("evaluate")(evaluate)
    app.add_typer(sentiment_app, name="sentiment")


def train(
    data: Annotated[Path, typer.Option(help="CSV with columns sentence (or text) and label; .gz is read too.")],
    output: Annotated[Path, typer.Option("--out", help="Folder to make; it must not exist.")],
    base: Annotated[
        str, typer.Option(help="Checkpoint folder, minilm, words, scratch; auto: minilm where installed, else words.")
    ] = "auto",
    passes: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the sentences; default: 4 on a pretrained base, 5 from scratch."),
    ] = None,
    choose_passes: Annotated[
        bool, typer.Option(help="Choose the number of passes, at most those: a further fit.")
    ] = False,
    holdout: Annotated[float, typer.Option(help="Share of the sentences held back to score the recipe.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Of the split and of the fit.")] = 7,
    refit: Annotated[bool, typer.Option(help="Save a model fitted on every sentence, after the scoring.")] = True,
    as_json: AsJson = False,
) -> None:
    """Fine-tune a classifier on labelled sentences and say how it does on sentences held back, beside lexicon and majority."""
    from features.signals.sentiment_data import read_labelled
    from features.signals.sentiment_training import SentimentTraining, train_sentiment

    labelled = read_labelled(data)
    training = SentimentTraining(passes=passes, choose_passes=choose_passes, holdout=holdout, seed=seed, refit=refit)
    with StageProgress() as progress:
        made = train_sentiment(labelled, output, base=base, training=training, progress=progress)
    if as_json:
        values = {"model": str(made.folder), "base": made.base, "passes": made.passes}
        out.print_json(json.dumps({**values, "held_back": [asdict(score) for score in made.scores]}))
        return
    out.print(_table("Sentences held back", made.scores))
    fitted = "every sentence" if refit else "the sentences not held back"
    out.print(f"{made.folder}: base {made.base}, {made.passes} passes, fitted on {fitted}", markup=False)
    out.print(f'use it: sentiment_model = "{made.folder.resolve()}" in settings.toml', markup=False)


def evaluate(
    model: Annotated[Path, typer.Option(help="Folder of a classifier with classes positive, negative and neutral.")],
    data: Annotated[Path, typer.Option(help="CSV with columns sentence (or text) and label; .gz is read too.")],
    as_json: AsJson = False,
) -> None:
    """Print accuracy and macro-F1 of a classifier on labelled sentences, every row counted, beside lexicon and majority."""
    from features.signals.sentiment import build_sentiment
    from features.signals.sentiment_data import read_labelled
    from features.signals.sentiment_scores import evaluate_sentiment

    scores = evaluate_sentiment(build_sentiment(model), read_labelled(data, unique=False))
    if as_json:
        out.print_json(json.dumps([asdict(score) for score in scores]))
        return
    out.print(_table(data.name, scores))
    out.print(f"accuracy {scores[0].accuracy:.4f}, macro-F1 {scores[0].macro_f1:.4f}", markup=False)


def _table(title: str, scores: "tuple[SentimentScore, ...]") -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in ("sentences", "accuracy", "macro-F1", *(f"F1 {label}" for label in scores[0].f1)):
        table.add_column(name, justify="right")
    for score in scores:
        cells = (f"{value:.3f}" for value in (score.accuracy, score.macro_f1, *score.f1.values()))
        table.add_row(score.name, f"{score.n:,}", *cells)
    return table
