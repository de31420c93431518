"""What a night's features, labels and books say: information by fold, every form of the label, pictures of one session."""

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from backtests.report.record_features import BookPicture, ExplainedRow, FeatureReport, LabelFormRow
from marketdata.partitions import PartitionMissing, PartitionQuarantined, load_partition
from marketdata.paths import PartitionKey
from marketdata.taker_cost import TakerCost
from orchestration.side_files import FEATURES
from orchestration.stage import StageContext
from orchestration.stages_dataset import load_dataset
from orchestration.stages_models import load_points

METHOD: Final = "by"
"""Columns of one row depend on each other in every way, so that only Benjamini-Yekutieli bounds the false ones."""
POINTS: Final = 240
"""Moments of a chart's lines."""
TIMED_ROWS: Final = 4_000
TIMED_EVENTS: Final = 20_000


class FeaturePages(msgspec.Struct, frozen=True):
    """All that the night's page shows of features, labels and books."""

    made_of: str
    """Hash of the table, the label and the code: pages of other ones are made anew."""
    information: FeatureReport
    label_forms: tuple[LabelFormRow, ...]
    pictures: tuple[BookPicture, ...]


def feature_pages(
    context: StageContext, *, again: bool = False, pictured: Sequence[str] = (), timed: bool = False
) -> FeaturePages:
    """Return the feature pages of a night, from the night's folder where they are kept.

    Parameters
    ----------
    again : bool
        Make them anew.
    pictured : sequence of str
        Symbols whose book is drawn; default: the first traded instrument with a book.
    timed : bool
        Measure what the raw features cost as well, which takes some seconds.
    """
    from models.training import code_sha256

    path = context.root.night(context.day) / FEATURES
    table, label = load_dataset(context), context.settings.label.model_dump_json()
    made_of = hashlib.sha256(f"{table.content_hash()} {label} {code_sha256()}".encode()).hexdigest()
    if path.exists() and not again:
        kept = msgspec.json.decode(path.read_bytes(), type=FeaturePages)
        if kept.made_of == made_of:
            return kept
    made = FeaturePages(
        made_of,
        information(context, raw_costs(context) if timed else None),
        label_forms(context),
        pictures(context, pictured),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(msgspec.json.encode(made))
    temporary.replace(path)
    return made


def raw_costs(context: StageContext) -> dict[str, float]:
    """Return the measured time of each raw column in nanoseconds a row: its family's, shared evenly by the family's columns.

    Measured on the first published instrument with a book; empty where the session has none.
    """
    from features.catalog import catalogue
    from features.costs import family_costs
    from features.pipeline import session_pipeline
    from marketdata.events import events_from_frame
    from marketdata.instruments import BookKind

    for item in context.settings.instruments:
        if item.book_kind is BookKind.TRADES_ONLY:
            continue
        try:
            frame = load_partition(context.root, PartitionKey("events", context.day, item.symbol))
        except (PartitionMissing, PartitionQuarantined):
            continue
        pipeline = session_pipeline(context.settings, item, context.session)
        costs = family_costs(pipeline, events_from_frame(frame)[:TIMED_EVENTS])
        entries = catalogue(pipeline.spec)
        columns = Counter(entry.family for entry in entries)
        return {entry.name: costs.get(entry.family, 0.0) / columns[entry.family] for entry in entries}
    return {}


def information(context: StageContext, costs: dict[str, float] | None = None) -> FeatureReport:
    """Return what every column says about the label, fold by fold, and the fitted columns in the last fold."""
    from features.catalog import dataset_catalogue
    from features.feature_report import FittedColumns, TrainingRows, feature_report
    from features.fitted.catalog import fitted_catalogue
    from models.splits import final_fold, walk_forward_folds
    from models.training import design_block

    settings, table = context.settings, load_dataset(context)
    last = final_fold(table, settings.training)
    folds = [*walk_forward_folds(table, settings.training, settings.latency), last]
    entries = {entry.name: entry for entry in (*dataset_catalogue(settings), *fitted_catalogue(settings))}
    fitted = None
    if len(last.train):
        window, block, design = design_block(context.root, settings, table, last, load_points(context, table))
        names = [name for name in block.rows.columns if name not in table.columns and not name.startswith("is_")]
        places = np.array([block.rows.columns.index(name) for name in names], np.intp)
        own = _member_costs(design, block.rows.raw[-TIMED_ROWS:], block.rows.instrument[-TIMED_ROWS:])
        fitted = FittedColumns(
            tuple(names), block.rows.x[np.ix_(window.loss, places)], tuple(own.get(name) for name in names)
        )
    rows = [TrainingRows(fold.name, fold.train) for fold in folds if len(fold.train)]
    return feature_report(table, rows, entries, fitted, costs, method=METHOD, seed=settings.training.seed)


def _member_costs(
    design: Any, raw: npt.NDArray[np.float32], instrument: npt.NDArray[np.int64]
) -> dict[str, float | None]:
    """Return the measured time of each member's step a row, in nanoseconds, for each of its columns; the best of three."""
    from features.fitted.family import RowBatch

    batch = RowBatch(instrument, np.zeros(len(instrument)), raw)
    found: dict[str, float | None] = {}
    for _, params in design.members:
        best = np.inf
        for _ in range(3):
            started = time.perf_counter()
            params.step(batch)
            best = min(best, time.perf_counter() - started)
        for name in params.columns:
            found[name] = float(best / max(len(instrument), 1) * 1e9 / len(params.columns))
    return found


def label_forms(context: StageContext) -> tuple[LabelFormRow, ...]:
    """Return class shares and persistence scores of every form of the label, over the session's instruments together."""
    from features.labels import DESCRIPTIONS, FORMS, compare_forms
    from features.rows import FeatureRows
    from marketdata.events import events_from_frame

    settings = context.settings
    found: dict[Any, list[Any]] = {form: [] for form in FORMS}
    for item in settings.instruments:
        if not item.is_traded:
            continue
        try:
            rows = load_partition(context.root, PartitionKey("feature_rows", context.day, item.symbol))
            events = load_partition(context.root, PartitionKey("events", context.day, item.symbol))
        except (PartitionMissing, PartitionQuarantined):
            continue
        for score in compare_forms(
            FeatureRows.from_frame(rows),
            events_from_frame(events),
            item,
            settings.label,
            settings.latency,
            context.session,
            TakerCost.of(settings, item),
        ):
            found[score.form].append(score)
    return tuple(
        LabelFormRow(
            form=form,
            description=DESCRIPTIONS[form],
            is_used=form == settings.label.form,
            labelled=sum(score.labelled for score in scores),
            rows=sum(score.rows for score in scores),
            **{name: _pooled(scores, name) for name in _POOLED},
        )
        for form, scores in found.items()
        if scores
    )


_POOLED: Final = (
    *("down", "flat", "up", "majority", "persistence", "persistence_f1"),
    *("previous_row", "already_happened", "wait_s"),
)


def _pooled(scores: Sequence[Any], name: str) -> float | None:
    """Return the mean of a score over instruments, weighted by labelled rows; None where no instrument has it."""
    known = [(getattr(score, name), score.labelled) for score in scores if np.isfinite(getattr(score, name))]
    total = sum(weight for _, weight in known)
    return float(sum(value * weight for value, weight in known) / total) if total else None


def pictures(context: StageContext, symbols: Sequence[str] = ()) -> tuple[BookPicture, ...]:
    """Return the pictures of the session's books; an instrument without a published session or a book has none."""
    from backtests.report.pictures import depth_png
    from features.book_pictures import depth_picture, flow_picture
    from marketdata.events import events_from_frame
    from marketdata.instruments import BookKind

    booked = [item for item in context.settings.instruments if item.book_kind is not BookKind.TRADES_ONLY]
    wanted = [item for item in booked if item.symbol in symbols] if symbols else booked
    found: list[BookPicture] = []
    for item in wanted:
        if found and not symbols:
            break
        try:
            events = events_from_frame(load_partition(context.root, PartitionKey("events", context.day, item.symbol)))
            depth = depth_picture(events, context.session)
        except (PartitionMissing, PartitionQuarantined, ValueError):
            continue
        flow = flow_picture(events, context.session, item)
        kept = np.unique(np.linspace(0, len(flow.move) - 1, min(POINTS, len(flow.move))).astype(np.int64))
        total = np.cumsum(np.nan_to_num(flow.flow), axis=0)[kept]
        to_quote = item.price_decimals
        found.append(
            BookPicture(
                symbol=item.symbol,
                open_ns=context.session.open_ns,
                close_ns=context.session.close_ns,
                depth_png=depth_png(depth.lots),
                low=depth.low * to_quote,
                high=depth.high * to_quote,
                mid=tuple(float(value * to_quote) if np.isfinite(value) else None for value in depth.mid),
                flow=tuple(tuple(float(value) for value in column) for column in total.T),
                move=tuple(float(value) for value in np.cumsum(flow.move)[kept]),
                weights=tuple(float(value) for value in flow.weights),
                explained=tuple(
                    ExplainedRow(measure=one.measure, inside=one.inside, ahead=one.ahead, whole=one.whole)
                    for one in flow.explained
                ),
            )
        )
    return tuple(found)
