"""``flowsense features report`` and ``features dataset``: a page of their own for features, and the table as files."""

from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import msgspec

from backtests.report.record import FeatureReport, NightRecord, Status
from backtests.report.record_features import FeatureInformation
from marketdata.partitions import PartitionMissing, read_manifest
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings
from orchestration import collect_data
from orchestration.build_facts import build_facts
from orchestration.collect_features import FeaturePages, feature_pages
from orchestration.resources import RootResource
from orchestration.stage import StageContext
from orchestration.stages_dataset import load_dataset

SHOWN: Final = 8
"""Features that the terminal names."""


@dataclass(frozen=True, slots=True)
class FeaturePage:
    """Where the page went, and what the terminal says."""

    page: Path
    lines: tuple[str, ...]


def write_feature_page(
    root: DataRoot,
    settings: Settings,
    day: date | None,
    instruments: tuple[str, ...] = (),
    page: Path | None = None,
    json_file: Path | None = None,
) -> FeaturePage:
    """Write the feature page of a session.

    Parameters
    ----------
    day : date, optional
        Default: the last session with a share of the dataset.
    instruments : tuple of str
        Whose book is drawn; default: the first with one.
    page, json_file : Path, optional
        Where the page goes, and where its numbers go as JSON.

    Raises
    ------
    PartitionMissing
        If no session has a share of the dataset.
    SettingsError
        If an instrument is unknown.
    """
    from backtests.report.render import render_feature_page

    for symbol in instruments:
        settings.instrument(symbol)
    context = StageContext(root, settings, RootResource(path=str(root.path)), day or last_dataset_day(root))
    table = load_dataset(context)
    pages = feature_pages(context, again=True, pictured=instruments, timed=True)
    record = NightRecord(
        day=context.day,
        source=settings.source,
        status=Status(kind="no_training", headline=f"Features of {context.day}"),
        time_zone=settings.time_zone,
        horizon_ns=settings.label.horizon_ns,
        instruments=tuple(item.symbol for item in settings.instruments),
        build=build_facts(settings, data_sha256=table.content_hash()),
        features=collect_data.feature_summaries(table, settings),
        labels=collect_data.label_shares(table),
        information=pages.information,
        label_forms=pages.label_forms,
        books=pages.pictures,
    )
    target = page or root.report(context.day).with_name(f"features-{context.day}.html")
    render_feature_page(record, target)
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(pages), indent=1))
    return FeaturePage(target.resolve(), summary_lines(pages))


def export_dataset(root: DataRoot, settings: Settings, day: date | None, folder: Path) -> dict[str, Any]:
    """Write the training table of a session (default: the last) into a folder and return its manifest.

    Raises
    ------
    PartitionMissing
        If no session has a share of the dataset.
    """
    from features.dataset_files import save_dataset
    from features.labels import label_spec

    context = StageContext(root, settings, RootResource(path=str(root.path)), day or last_dataset_day(root))
    table = load_dataset(context)
    days = [session.date for session in table.sessions]
    shares = {str(one): read_manifest(root, PartitionKey("dataset_day", one)) for one in days}
    spec = label_spec(settings.label, settings.latency)
    made_from = {
        "source": settings.source,
        "shares": {one: share.data_sha256 for one, share in shares.items()},
        "missing": {one: share.extra.get("missing", {}) for one, share in shares.items()},
        "label": {**asdict(spec), "sha256": spec.fingerprint},
    }
    return save_dataset(table, folder, made_from)


def last_dataset_day(root: DataRoot) -> date:
    """Return the last session that has a published share of the dataset.

    Raises
    ------
    PartitionMissing
        If there is none.
    """
    folders = sorted((root.published_folder / "dataset_day").glob("*/????-??-??"))
    days = [date.fromisoformat(folder.name) for folder in folders]
    if not days:
        raise PartitionMissing(f"{root.path} has no dataset yet; run `flowsense nightly` or `make run` first")
    return max(days)


def summary_lines(pages: FeaturePages) -> tuple[str, ...]:
    """Return the report in a few lines for the terminal."""
    report: FeatureReport = pages.information
    always = [item for item in report.features if item.chosen_share == 1.0]
    never = [item for item in report.features if not item.chosen_share]

    def size(item: FeatureInformation) -> float:
        last = item.folds[-1]
        return abs(last.coefficient or 0.0) if last else 0.0

    best = sorted(report.features, key=size, reverse=True)[:SHOWN]
    lines = [
        f"{len(report.features)} features, {report.clusters} clusters, {len(report.folds)} training windows; "
        f"chosen at {report.rate:g} ({report.method.upper()}): {len(always)} in every window, {len(never)} never",
        f"made in {report.seconds:.1f} s from {report.rows[-1]:,} rows in {report.blocks[-1]} blocks",
    ]
    for item in best:
        last = item.folds[-1]
        if last is None or last.coefficient is None or last.low is None or last.high is None:
            continue
        lines.append(f"  {item.name:<28} IC {last.coefficient:+.3f}  [{last.low:+.3f}, {last.high:+.3f}]")
    for form in pages.label_forms:
        shares = " / ".join("-" if value is None else f"{100 * value:.0f}" for value in (form.down, form.flat, form.up))
        last_known = "-" if form.persistence is None else f"{100 * form.persistence:.1f} %"
        lines.append(f"  label {form.form:<15} {shares:>14} %  persistence {last_known}")
    return tuple(lines)
