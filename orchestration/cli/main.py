"""``flowsense``: everything a person does by hand."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from marketdata.settings import SettingsError
from orchestration.cli import (
    ab,
    arbitrage,
    capture,
    controls,
    data,
    evidence,
    feature_report,
    features,
    feeds,
    house,
    ingest,
    live,
    nights,
    pauses,
    route,
    sentiment,
    signals,
    simulate,
    strategies,
    studies,
    switches,
)
from orchestration.cli.console import err
from orchestration.cli.roots import Choice

app = typer.Typer(
    name="flowsense",
    help="A scheduled MLOps and experiment platform for market microstructure.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)


@app.callback()
def choose_root(
    context: typer.Context,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the data root; default var/<source>.", envvar="FLOWSENSE_ROOT")
    ] = None,
    source: Annotated[
        str, typer.Option(help="Source whose default root is meant when --root is not given.")
    ] = "simulated",
) -> None:
    """Choose the data root that the command works on."""
    context.obj = Choice(root, source)


for module in (
    nights,
    capture,
    ingest,
    data,
    simulate,
    evidence,
    feature_report,
    features,
    sentiment,
    signals,
    live,
    feeds,
    house,
    ab,
    arbitrage,
    route,
    controls,
    strategies,
    studies,
    switches,
    pauses,
):
    module.register(app)


def expected_errors() -> tuple[type[Exception], ...]:
    """Return the errors that a person can mend: shown as one line, exit code 2."""
    from features.signals.sentiment import SentimentModelError
    from features.signals.sentiment_data import LabelledDataError
    from marketdata.archives import UnknownRecording
    from marketdata.capture import CaptureError
    from marketdata.codecs.catalog import UnknownVenue
    from marketdata.export import ExportError
    from marketdata.feeds.protocol import FeedError
    from marketdata.lake import LakeError
    from marketdata.partitions import PartitionMissing, PartitionQuarantined
    from marketdata.postgres import PostgresError
    from marketdata.recordings import RecordingError
    from marketdata.sources import SourceError
    from models.bundle import BundleError
    from models.decisions import DecisionError
    from orchestration.up import PortTaken
    from serving.instructions import InstructionError
    from serving.prediction import InvalidRows
    from serving.service import NoChampion

    return (
        SettingsError,
        SentimentModelError,
        LabelledDataError,
        FileExistsError,
        UnknownRecording,
        UnknownVenue,
        RecordingError,
        CaptureError,
        ExportError,
        FeedError,
        PostgresError,
        LakeError,
        SourceError,
        PartitionMissing,
        PartitionQuarantined,
        BundleError,
        DecisionError,
        PortTaken,
        InvalidRows,
        InstructionError,
        NoChampion,
    )


def main() -> None:
    """Run the command line; errors go to stderr as one line, with exit code 2 for input and 1 for a failed run."""
    try:
        app()
    except Exception as error:
        if not isinstance(error, expected_errors()):
            raise
        err.print(f"flowsense: {error}", markup=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
