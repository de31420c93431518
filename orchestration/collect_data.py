"""The data half of a night's record: partitions and their audits, rows by stage, features, labels, slow signals."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import numpy as np

from backtests.report.record import Ablation, FeatureSummary, LabelShare, PartitionQuality, SignalFamily, StageRows
from features.dataset import LABEL_MISSING, Dataset
from features.drift import ColumnDrift, drift
from features.signals.columns import SIGNAL_COLUMNS, SLOW_KINDS
from features.sketch import sketch_rows
from marketdata.partitions import Manifest, PartitionMissing, PartitionQuarantined, read_manifest, read_quarantined
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from orchestration.raw_names import RAW_OF
from orchestration.readiness import TICK_CHAIN

BINS: Final = 24


def partition_qualities(root: DataRoot, settings: Settings, days: Sequence[date]) -> tuple[PartitionQuality, ...]:
    """Return how the audit of every partition of the sessions went, in the order of the night."""
    return tuple(_quality(root, key) for key in partition_keys(settings, days))


def partition_keys(settings: Settings, days: Sequence[date]) -> list[PartitionKey]:
    """Return the keys of all ingest partitions and dataset shares of the sessions."""
    keys = []
    for day in days:
        for asset in TICK_CHAIN:
            keys += [PartitionKey(asset, day, item.symbol) for item in settings.instruments]
        for kind in SLOW_KINDS[settings.source]:
            keys += [PartitionKey(RAW_OF[kind], day), PartitionKey(f"{kind}_signals", day)]
        keys.append(PartitionKey("dataset_day", day))
    return keys


def _manifest(root: DataRoot, key: PartitionKey) -> tuple[str, Manifest | None]:
    try:
        return "published", read_manifest(root, key)
    except PartitionQuarantined:
        return "quarantined", read_quarantined(root, key)
    except PartitionMissing:
        return "missing", None


def _quality(root: DataRoot, key: PartitionKey) -> PartitionQuality:
    status, manifest = _manifest(root, key)
    if manifest is None:
        return PartitionQuality(asset=key.asset, day=key.date, symbol=key.symbol, status="missing")
    failed = [check for check in manifest.checks if not check.passed]
    return PartitionQuality(
        asset=key.asset,
        day=key.date,
        symbol=key.symbol,
        status="published" if status == "published" else "quarantined",
        rows=manifest.rows,
        checks_passed=len(manifest.checks) - len(failed),
        checks_failed=len(failed),
        bad_rows=sum(check.bad_rows for check in failed),
        reasons=tuple(f"{check.name.replace('_', ' ')}: {check.detail}".rstrip(": ") for check in failed),
        sha256=manifest.data_sha256,
    )


def stage_rows(root: DataRoot, settings: Settings, days: Sequence[date]) -> tuple[StageRows, ...]:
    """Return rows in and out of every ingest stage, summed over sessions and instruments."""
    totals: dict[str, list[int]] = {}
    for key in partition_keys(settings, days):
        total = totals.setdefault(key.asset, [0, 0, 0, 0])
        status, manifest = _manifest(root, key)
        total[2 if status == "published" else 3] += status != "missing"
        if status == "published" and manifest is not None:
            rows_in = manifest.extra.get("rows_in")
            total[0] += rows_in if isinstance(rows_in, int) else 0
            total[1] += manifest.rows
    return tuple(
        StageRows(stage=asset, rows_in=rows_in, rows_out=rows_out, detail=_partitions_text(published, quarantined))
        for asset, (rows_in, rows_out, published, quarantined) in totals.items()
        if published or quarantined
    )


def _partitions_text(published: int, quarantined: int) -> str:
    text = f"{published} partition{'' if published == 1 else 's'}"
    return f"{text}, {quarantined} in quarantine" if quarantined else text


def feature_summaries(table: Dataset, settings: Settings) -> tuple[FeatureSummary, ...]:
    """Return the distribution of every column of the training table, and how far the last session lies from those before."""
    units = _units(settings)
    moved = _drifts(table)
    found = []
    for place, name in enumerate(table.columns):
        column = table.x[:, place].astype(np.float64)
        known = column[np.isfinite(column)]
        family = _family(name)
        if not len(known):
            found.append(
                FeatureSummary(name=name, family=family, unit=units.get(name, ""), missing_share=1.0, **moved[place])
            )
            continue
        p01, p50, p99 = (float(value) for value in np.quantile(known, (0.01, 0.5, 0.99)))
        edges = np.linspace(p01, p99, BINS + 1) if p99 > p01 else np.linspace(p01 - 0.5, p01 + 0.5, BINS + 1)
        counts, _ = np.histogram(np.clip(known, edges[0], edges[-1]), bins=edges)
        found.append(
            FeatureSummary(
                name=name,
                family=family,
                unit=units.get(name, ""),
                missing_share=1.0 - len(known) / len(column),
                mean=float(known.mean()),
                sd=float(known.std()),
                p01=p01,
                p50=p50,
                p99=p99,
                histogram=tuple(int(count) for count in counts),
                **moved[place],
            )
        )
    return tuple(found)


def _drifts(table: Dataset) -> list[dict[str, Any]]:
    """Return, column by column, how far the last session's values lie from those of the sessions before it."""
    last = int(table.session.max(initial=0))
    if last == 0:
        return [{} for _ in table.columns]
    today = table.session == last
    moved = drift(sketch_rows(table.columns, table.x[~today]), sketch_rows(table.columns, table.x[today]))
    return [_drift_fields(one) for one in moved]


def _drift_fields(one: ColumnDrift) -> dict[str, Any]:
    return {
        "psi": one.psi if np.isfinite(one.psi) else None,
        "wasserstein_sd": one.wasserstein_sd if np.isfinite(one.wasserstein_sd) else None,
        "drift": one.status,
    }


def _units(settings: Settings) -> dict[str, str]:
    from features.catalog import catalogue
    from features.pipeline import feature_spec

    return {entry.name: entry.unit for entry in catalogue(feature_spec(settings))}


def _family(name: str) -> str:
    for kind, columns in SIGNAL_COLUMNS.items():
        if name in columns:
            return kind
    if name.startswith(("peer_", "relative_")):
        return "peers"
    return "hawkes" if name.startswith("hawkes_") else "ticks"


def label_shares(table: Dataset) -> tuple[LabelShare, ...]:
    """Return how the labels of each instrument are spread over the training table."""
    found = []
    for item in table.instruments:
        y = table.y[table.instrument_id == item.instrument_id]
        if len(y):
            counts = {value: int((y == value).sum()) for value in (-1, 0, 1, LABEL_MISSING)}
            found.append(
                LabelShare(
                    symbol=item.symbol, down=counts[-1], flat=counts[0], up=counts[1], missing=counts[LABEL_MISSING]
                )
            )
    return tuple(found)


def signal_families(root: DataRoot, settings: Settings, day: date) -> tuple[SignalFamily, ...]:
    """Return each kind of slow signal: how many rows the session has, or why it is absent."""
    found = []
    kinds: Sequence[Any] = ("options", "social", "onchain")
    for kind in kinds:
        if kind not in SLOW_KINDS[settings.source]:
            found.append(SignalFamily(kind=kind, present=False, detail=f"source {settings.source} has none"))
            continue
        try:
            manifest = read_manifest(root, PartitionKey(f"{kind}_signals", day))
        except (PartitionMissing, PartitionQuarantined) as error:
            found.append(SignalFamily(kind=kind, present=False, detail=str(error)))
            continue
        detail = manifest.extra.get("detail", "")
        found.append(SignalFamily(kind=kind, present=True, rows=manifest.rows, detail=str(detail)))
    return tuple(found)


ABLATION_ROWS: Final = 50_000
"""Largest table of which the families are added and removed every night: eight walks of a linear model."""


def signal_ablations(table: Dataset, settings: Settings) -> tuple[Ablation, ...]:
    """Return the linear candidate's walk with each kind of slow signal added and removed; nothing for large tables."""
    from models.ablation import ablate_families

    if len(table) > ABLATION_ROWS or not SLOW_KINDS[settings.source]:
        return ()
    families = {kind: SIGNAL_COLUMNS[kind] for kind in SLOW_KINDS[settings.source]}
    return tuple(
        Ablation(family=item.family, change=item.change, model="linear", mcc=item.mcc, log_loss=item.log_loss)
        for item in ablate_families(table, settings, families)
    )
