"""Two tables after an ingest: what each recording held, and how good each session and instrument came out."""

import math

from rich import box
from rich.console import Console
from rich.table import Table

from marketdata.clock import NS_PER_MS
from marketdata.paths import DataRoot
from marketdata.quality import PartitionFacts, partition_facts
from marketdata.recording_manifest import RecordingManifest
from orchestration.recorded_root import IngestResult

ABSENT = "-"
WIDTH = 170
"""Columns of the tables where they go to a file or a pipe."""


def print_recordings(root: DataRoot, result: IngestResult, console: Console) -> None:
    """Print the recordings, the data-quality table, and what a person should know."""
    from marketdata.recorded import RecordedSource

    settings = root.settings()
    source = RecordedSource(settings, root)
    wide = console if console.is_terminal else Console(file=console.file, width=WIDTH, highlight=False)
    wide.print(_recordings(result.recordings))
    rows = [partition_facts(root, source, session, symbol) for session, symbol in result.partitions]
    wide.print(_quality(rows))
    for row in rows:
        if row.reason:
            console.print(f"{row.status}  {row.day} {row.symbol}: {row.reason}", markup=False)
    for manifest in result.recordings:
        if not manifest.parts:
            console.print(
                f"note: {manifest.files[0]['path']}: no row lies within a session of {settings.calendar}; "
                "its market's sessions can be said with --calendar",
                markup=False,
            )
    for warning in result.warnings:
        console.print(f"note: {warning}", markup=False)
    done = len(result.recordings) - result.decoded
    console.print(
        f"{result.decoded} recording(s) decoded, {done} known already; {result.published} of {len(rows)} partition(s) made; "
        f"data root {root.path}",
        markup=False,
    )


def _recordings(manifests: tuple[RecordingManifest, ...]) -> Table:
    table = _table(
        "recording", "format", "venue", "frames", "ignored", "rejected", "outside", "clock, ms", "drift, ppm", left=3
    )
    for manifest in manifests:
        clock = manifest.clock
        if not clock.has_receive_time:
            offset, drift = "modelled", ABSENT
        else:
            offset = f"{clock.offset_ns / NS_PER_MS:+,.3f}" + ("" if clock.is_applied else " (kept)")
            drift = f"{clock.drift_ppm:+.1f}"
        table.add_row(
            str(manifest.files[0]["path"]).rsplit("/", 1)[-1],
            manifest.layout,
            manifest.venue,
            f"{manifest.frames:,}",
            f"{sum(manifest.ignored.values()):,}",
            f"{manifest.rejected:,}",
            f"{manifest.outside_sessions:,}",
            offset,
            drift,
        )
    return table


def _quality(rows: list[PartitionFacts]) -> Table:
    table = _table(
        "session",
        "instrument",
        "rows",
        "groups",
        "trades",
        "gaps",
        "crossed",
        "locked",
        "late",
        "double",
        "rejected",
        "offset, ms",
        "covered",
        "status",
        left=2,
    )
    for row in rows:
        table.add_row(
            row.day.isoformat(),
            row.symbol,
            *(f"{count:,}" for count in (row.rows, row.groups, row.trades, row.gaps)),
            _share(row.crossed),
            _share(row.locked),
            *(f"{count:,}" for count in (row.out_of_order, row.duplicates, row.rejected)),
            ABSENT if math.isnan(row.offset_ms) else f"{row.offset_ms:+,.1f}",
            _share(row.coverage),
            row.status,
        )
    return table


def _share(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value:.2%}"


def _table(*names: str, left: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for k, name in enumerate(names):
        table.add_column(name, justify="left" if k < left or name == "status" else "right", no_wrap=True)
    return table
