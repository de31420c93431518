"""What every stage of the night is given, and what it gives back; and the glue between a stage and its asset."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from marketdata.clock import Session
from marketdata.partitions import CheckResult, Manifest, PartitionMissing, PartitionQuarantined, publish
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings, SettingsError
from orchestration import stopwatch
from orchestration.audits import gather
from orchestration.progress import step_begins
from orchestration.resources import RootResource

if TYPE_CHECKING:  # the sources' parsers would make loading the code location slow
    from marketdata.sources import Source


@dataclass(frozen=True)
class StageContext:
    """Where a stage works: the data root, the session, and for per-instrument stages the instrument."""

    root: DataRoot
    settings: Settings
    resource: RootResource
    day: date
    symbol: str | None = None

    @cached_property
    def source(self) -> "Source":
        """Source of ticks and slow signals."""
        return self.resource.source()

    @cached_property
    def session(self) -> Session:
        """Open and close of the session."""
        return self.settings.market_calendar().session(self.day)

    def recent_sessions(self, count: int) -> list[Session]:
        """Return the root's last ``count`` sessions up to this one, oldest first; fewer at the root's beginning."""
        return self.settings.market_calendar().sessions(self.settings.start_date, self.day)[-count:]

    def on(self, day: date) -> "StageContext":
        """Return the place of the same instrument in another session."""
        return replace(self, day=day)

    def of(self, symbol: str) -> "StageContext":
        """Return the place of the same session for one instrument."""
        return replace(self, symbol=symbol)

    def key(self, asset: str) -> PartitionKey:
        """Return this partition's address for an asset."""
        return PartitionKey(asset, self.day, self.symbol)


@dataclass(frozen=True)
class Produced:
    """A partition as a stage made it, with its audit.

    Attributes
    ----------
    rows_in : int
        Rows the stage read.
    checks : sequence of CheckResult
        The audit; a blocking failure sends the partition to quarantine.
    bad_rows : pl.DataFrame, optional
        Rows that broke a check, with a ``reason`` column.
    extra : mapping
        Facts for the manifest.
    """

    frame: pl.DataFrame
    rows_in: int
    checks: Sequence[CheckResult] = ()
    bad_rows: pl.DataFrame | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


PartitionStage = Callable[[StageContext], Produced]
NightStage = Callable[[StageContext], Mapping[str, Any]]
"""A stage that writes into the night's folder and returns what the asset shows as metadata."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what corrupt or missing input raises into a failed step that says so and is not tried again."""
    try:
        yield
    except _refusal_types() as error:
        raise dg.Failure(
            description=f"{type(error).__name__}: {error}{_advice(error)}",
            metadata={"reason": str(error), "kind": type(error).__name__},
            allow_retries=False,
        ) from error


def _advice(error: Exception) -> str:
    """Return what a person can do about a partition in quarantine."""
    if not isinstance(error, PartitionQuarantined):
        return ""
    key = str(error).split(" ", 1)[0]
    return (
        f". Look at it with `flowsense quarantine show {key}`. When its source is mended, run the partition again from raw; "
        "if the rows are right after all, `flowsense quarantine release` it and re-execute this run from failure"
    )


def _refusal_types() -> tuple[type[Exception], ...]:
    """Return the errors that mean bad or absent input; asked for only once something was raised."""
    from features.dataset_day import TooFewInstruments
    from marketdata.sources import SourceError

    return (PartitionQuarantined, PartitionMissing, TooFewInstruments, SourceError, SettingsError)


def publish_partition(context: StageContext, asset: str, stage: PartitionStage) -> Iterator[Any]:
    """Run a stage, audit and publish what it made; yield the check results and then the materialization.

    Raises
    ------
    dg.Failure
        If the partition went to quarantine, or its input is in quarantine, missing or malformed.
    """
    key = context.key(asset)
    step_begins(asset)
    with refusals():
        with stopwatch.part(stopwatch.INGEST):
            made = stage(context)
        extra = {"rows_in": made.rows_in, **made.extra}
        try:
            with stopwatch.part(stopwatch.INGEST):
                manifest = publish(context.root, key, made.frame, made.checks, bad_rows=made.bad_rows, extra=extra)
        except PartitionQuarantined:
            yield from _check_results(asset, made.checks, str(key))
            raise
    yield from _check_results(asset, released_checks(manifest, made.checks), str(key))
    yield dg.MaterializeResult(
        metadata={
            "dagster/row_count": manifest.rows,
            "rows_in": made.rows_in,
            "rows_out": manifest.rows,
            "bad_rows": 0 if made.bad_rows is None else made.bad_rows.height,
            "sha256": manifest.data_sha256,
            "path": dg.MetadataValue.path(str(context.root.published(key).resolve())),
            **{name: value for name, value in extra.items() if isinstance(value, int | float | str)},
        },
        data_version=dg.DataVersion(manifest.data_sha256),
    )


def released_checks(manifest: Manifest, checks: Sequence[CheckResult]) -> Sequence[CheckResult]:
    """Return an audit's findings as they count: those that a person has released the partition from warn and block nothing."""
    released = manifest.extra.get("released")
    if not isinstance(released, dict):
        return checks
    word = f"released by {released['by']}: {released['reason']}"
    return [c if c.passed else replace(c, blocking=False, detail=f"{c.detail} ({word})".strip()) for c in checks]


def run_night_stage(context: StageContext, asset: str, stage: NightStage) -> dg.MaterializeResult[None]:
    """Run a stage of the night and return its materialization."""
    step_begins(asset)
    with refusals(), stopwatch.part(stopwatch.EVIDENCE):
        shown = dict(stage(context))
    version = shown.pop("data_version", None)
    return dg.MaterializeResult(
        metadata={name: _metadata(value) for name, value in shown.items()},
        data_version=dg.DataVersion(str(version)) if version else None,
    )


def _metadata(value: object) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list | tuple):
        return dg.MetadataValue.json(list(value) if isinstance(value, tuple) else value)
    return value


def _check_results(asset: str, findings: Sequence[CheckResult], partition: str) -> Iterator[dg.AssetCheckResult]:
    for sentence in gather(asset, findings):
        yield dg.AssetCheckResult(
            passed=sentence.passed,
            check_name=sentence.name,
            severity=dg.AssetCheckSeverity.WARN if not sentence.is_error else dg.AssetCheckSeverity.ERROR,
            description=sentence.text,
            metadata={"partition": partition, "bad_rows": sum(f.bad_rows for f in sentence.findings)},
        )
