"""Book and clock invariants as plain functions: what an audit looks at before a partition may be published.

Each ``audit_*`` returns the results of all its checks (names in ``marketdata.check_names``) and the rows that broke
one, with a ``reason``. When columns are missing the rest cannot be judged: those checks are reported as not passed
and do not block, so that the reason of the refusal is the missing column.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata import check_names as names
from marketdata.book import empty_book
from marketdata.check_names import WARN_ONLY
from marketdata.clock import NS_PER_HOUR, Session
from marketdata.codecs import bars, lean, lobster
from marketdata.events import (
    ADD,
    EVENT_SCHEMA,
    EXECUTE,
    F_CROSSED,
    F_LAST,
    HIDDEN,
    QUOTE,
    TRADE,
    EventArray,
    events_from_frame,
    events_to_frame,
)
from marketdata.instruments import Instrument
from marketdata.invariants import TOLERANT, Broken, InvariantState, broken_rows, walk
from marketdata.partitions import CheckResult
from marketdata.settings import Settings
from marketdata.slow_data import HAPPENED, IDENTITY, SLOW_SCHEMAS

Mask = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]
Audit = tuple[list[CheckResult], pl.DataFrame]

MAX_BAD_ROWS: Final = 1_000
"""Bad rows kept beside a partition, per check."""
MAX_CROSSED_TIME: Final = 0.05
"""Share of the session that a consolidated or dealer book may be crossed."""
LABEL_CLASSES: Final = (-1, 0, 1)
LABEL_MISSING: Final = -128
RECORDED_COLUMNS: Final = (*EVENT_SCHEMA, "offset_ns")
"""Columns of decoded recordings; ``offset_ns`` is taken off ``ts_recv``, 0 where the recorder's clock is left as it was."""
SIMULATED_COLUMNS: Final = tuple(name for name in EVENT_SCHEMA if name not in ("ts_recv", "clock_quality"))


@dataclass
class _Findings:
    """Collects results and bad rows of one frame."""

    frame: pl.DataFrame
    expected: Sequence[str]
    results: dict[str, CheckResult] = field(default_factory=dict)
    bad: list[pl.DataFrame] = field(default_factory=list)

    def add(self, name: str, passed: bool, detail: str = "", bad_rows: int = 0) -> None:
        self.results[name] = CheckResult(name, bool(passed), name not in WARN_ONLY, detail, bad_rows)

    def rows(self, name: str, broken: Mask, problem: str) -> None:
        """Record a check that holds where ``broken`` is nowhere true; keep the rows that break it."""
        count = int(np.count_nonzero(broken))
        if count == 0:
            self.add(name, True)
            return
        first = int(np.argmax(broken))
        self.add(name, False, f"{count} row(s), the first is row {first + 1}: {problem}", count)
        kept = self.frame.with_row_index("row", offset=1).filter(pl.Series(broken)).head(MAX_BAD_ROWS)
        self.bad.append(kept.with_columns(pl.lit(name).alias("reason")))

    def columns(self, name: str, expected: Sequence[str]) -> bool:
        missing = [column for column in expected if column not in self.frame.columns]
        self.add(name, not missing, f"missing: {', '.join(missing)}" if missing else "")
        return not missing

    def finish(self) -> Audit:
        for name in self.expected:
            if name not in self.results:
                self.results[name] = CheckResult(name, False, False, "not judged: an earlier check failed")
        empty = self.frame.clear().with_row_index("row").with_columns(pl.lit("").alias("reason"))
        rows = pl.concat(
            [empty.select(pl.col("row").cast(pl.UInt32), pl.exclude("row")), *self.bad], how="vertical_relaxed"
        )
        return [self.results[name] for name in self.expected], rows


def raw_columns(settings: Settings, frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the columns that raw ticks of a source must have."""
    if settings.source == "simulated":
        return SIMULATED_COLUMNS
    if settings.source == "lobster":
        return (*lobster.MESSAGE_COLUMNS, *lobster.book_columns(max(lobster.raw_levels(frame), 1)))
    if settings.source == "recorded":
        return RECORDED_COLUMNS
    return lean.RAW_COLUMNS if settings.source == "lean_equity" else tuple(bars.SCHEMA)


@dataclass(frozen=True, slots=True)
class _RawShape:
    clock: str
    sizes: tuple[str, ...]


_RAW_SHAPES: Final = {
    "simulated": _RawShape("ts_event", ("size_lots",)),
    "lobster": _RawShape("time", ("size",)),
    "lean_equity": _RawShape("ms", ("bid_size", "ask_size", "size")),
    "recorded": _RawShape("ts_recv", ("size_lots",)),
    "crypto_2026": _RawShape("open_time", ("volume", "taker_buy_volume", "quote_volume")),
}


def audit_raw_ticks(frame: pl.DataFrame, settings: Settings, symbol: str) -> Audit:
    """Audit the raw ticks of a session and instrument in their source's own columns.

    A missing column, no rows, a null, a clock that goes back, a negative size and an inconsistent quote (a recorded
    book that is crossed; a candle whose open or close lies outside its range) each refuse the partition.
    """
    found = _Findings(frame, names.RAW_TICKS)
    settings.instrument(symbol)
    columns = raw_columns(settings, frame)
    if not found.columns("raw_columns_are_present", columns):
        return found.finish()
    found.add("raw_rows_exist", frame.height > 0, "" if frame.height else "the frame is empty")
    nulls = frame.select(pl.any_horizontal(pl.col(columns).is_null())).to_series().to_numpy()
    found.rows("raw_values_are_not_missing", nulls, "a null")
    shape = _RAW_SHAPES[settings.source]
    clock = frame[shape.clock].fill_null(0).to_numpy()
    back = _steps_back(clock)
    if settings.source == "lean_equity":  # quotes first, then trades: each kind has its own clock
        kind = frame["kind"].fill_null(0).to_numpy()
        back[1:] &= kind[1:] == kind[:-1]
    found.rows("raw_clock_does_not_go_back", back, f"{shape.clock} is before the previous row's")
    negative = np.zeros(frame.height, np.bool_)
    for name in shape.sizes:
        negative |= frame[name].fill_null(0).to_numpy() < 0
    found.rows("raw_sizes_are_not_negative", negative, f"one of {', '.join(shape.sizes)} is negative")
    broken, problem = _inconsistent_quotes(settings, frame)
    found.rows("raw_quotes_are_consistent", broken, problem)
    return found.finish()


def _steps_back(clock: npt.NDArray[Any]) -> Mask:
    back = np.zeros(len(clock), np.bool_)
    back[1:] = clock[1:] < clock[:-1]
    return back


def _inconsistent_quotes(settings: Settings, frame: pl.DataFrame) -> tuple[Mask, str]:
    if settings.source == "lobster":
        bid, ask, bids, asks = (
            frame[name].fill_null(0).to_numpy() for name in ("bid_price_1", "ask_price_1", "bid_size_1", "ask_size_1")
        )
        return (bids > 0) & (asks > 0) & (bid >= ask), "the recorded bid is not below the ask"
    if settings.source == "crypto_2026":
        opened, high, low, closed, volume, bought = (
            frame[name].fill_null(0).to_numpy()
            for name in ("open", "high", "low", "close", "volume", "taker_buy_volume")
        )
        broken = (np.minimum(opened, closed) < low) | (np.maximum(opened, closed) > high) | (low <= 0)
        return broken | (bought > volume), "open or close outside [low, high], or takers bought more than was traded"
    if settings.source == "lean_equity":
        broken = np.zeros(frame.height, np.bool_)
        for name in ("bid_price", "ask_price", "price"):
            broken |= frame[name].fill_null(0).to_numpy() < 0
        return broken, "a negative price"
    price, action = (frame[name].fill_null(0).to_numpy() for name in ("price_units", "action"))
    return (price <= 0) & (action >= ADD) & (action <= QUOTE) & (action != QUOTE), "a price that is not positive"


def walk_book(events: EventArray) -> tuple[npt.NDArray[np.uint8], Mask]:
    """Return, row by row, whether the group ends locked (1) or crossed (2), and whether it took what was not there."""
    crossed, missing, _ = walk(empty_book(), events)
    return crossed, missing


def flag_crossed(events: EventArray) -> EventArray:
    """Set ``F_CROSSED`` on the last row of every group after which the book is crossed, in place; return the events."""
    crossed, _ = walk_book(events)
    events["flags"] |= np.where(crossed == 2, F_CROSSED, 0).astype(np.uint8)
    return events


_PROBLEMS: Final = {
    "event_times_do_not_go_back": "ts_event is before the previous row's",
    "receive_times_do_not_go_back": "ts_recv is before the previous row's",
    "nothing_is_received_before_it_happened": "ts_recv is before ts_event",
    "event_actions_and_sides_are_known": "unknown action, or a side is needed",
    "event_sizes_are_not_negative": "size_lots is negative",
    "event_groups_are_closed": "F_LAST is not exactly on the last row of a sequence",
    "book_prices_are_on_the_tick": "no positive multiple of {tick} units",
    "book_is_never_crossed": "bid at or above ask at the end of its group, or F_CROSSED does not say what the book says",
    "volume_is_conserved": "takes more out of a price level than was there",
    "executions_are_at_the_best": "a visible execution off the best of its side, or a hidden one outside the spread",
    "book_has_no_gaps": "the book is lost here until it is known again",
}


def audit_events(
    events: EventArray | pl.DataFrame, instrument: Instrument, session: Session, *, traded_lots: int | None = None
) -> Audit:
    """Audit the events of a session and instrument.

    Parameters
    ----------
    events : event array or frame
        In order.
    traded_lots : int, optional
        What the raw rows say was traded: ``volume_is_conserved`` then demands the same of the events. In any case
        nothing may leave a matching book that was not in it.

    Notes ----- A matching book, and the assumed one around bars, is never crossed nor locked at the end of a group. A
    consolidated or dealer book may be crossed for at most 5 % of the session; its crossed groups carry ``F_CROSSED``.
    """
    frame = events if isinstance(events, pl.DataFrame) else events_to_frame(events)
    found = _Findings(frame, names.EVENTS)
    if not found.columns("event_columns_are_present", tuple(EVENT_SCHEMA)):
        return found.finish()
    try:
        rows = events_from_frame(frame)
    except ValueError as error:
        found.add("event_columns_are_present", False, str(error))
        return found.finish()
    found.add("events_exist", len(rows) > 0, "" if len(rows) else "there is none")
    broken = broken_rows(InvariantState(), rows, instrument)
    outside = (rows["ts_event"] < session.open_ns) | (rows["ts_event"] > session.close_ns)
    for name, problem in _PROBLEMS.items():
        if name == "event_actions_and_sides_are_known":
            found.rows("events_lie_within_the_session", outside, "ts_event is before the open or after the close")
        mask = _open_groups(rows) if name == "event_groups_are_closed" else broken.rows[name]
        found.rows(name, mask, problem.format(tick=instrument.tick_units))
    _audit_book(found, rows, instrument, session, traded_lots, broken)
    return found.finish()


def _open_groups(rows: EventArray) -> Mask:
    last = (rows["flags"] & F_LAST) > 0
    ends = np.ones(len(rows), np.bool_)
    ends[:-1] = rows["sequence"][1:] != rows["sequence"][:-1]
    return (last != ends) | _steps_back(rows["sequence"])


def _audit_book(
    found: _Findings,
    rows: EventArray,
    instrument: Instrument,
    session: Session,
    traded_lots: int | None,
    broken: Broken,
) -> None:
    """Add what concerns the session as a whole: the share of it that a tolerant book is crossed, and the traded volume."""
    if instrument.book_kind in TOLERANT and found.results["book_is_never_crossed"].passed:
        share = _crossed_share(rows, broken.crossed == 2, session)
        count = int(np.count_nonzero(broken.crossed == 2))
        text = f"crossed {share:.3%} of the session in {count} groups, flagged; at most {MAX_CROSSED_TIME:.0%}"
        found.add("book_is_never_crossed", share <= MAX_CROSSED_TIME, text, count if share > MAX_CROSSED_TIME else 0)
    traded = int(rows["size_lots"][np.isin(rows["action"], (EXECUTE, HIDDEN, TRADE))].sum())
    if traded_lots is not None and traded != traded_lots and found.results["volume_is_conserved"].passed:
        found.add("volume_is_conserved", False, f"{traded} lots traded in the events, {traded_lots} in the raw rows")


def _crossed_share(rows: EventArray, crossed: Mask, session: Session) -> float:
    """Return the share of the session's time after groups that end crossed."""
    last = np.flatnonzero(rows["flags"] & F_LAST)
    if not len(last):
        return 0.0
    times = np.append(rows["ts_event"][last], session.close_ns)
    lasting = np.diff(times)
    return float(lasting[crossed[last]].sum() / max(session.close_ns - session.open_ns, 1))


KEY_COLUMNS: Final = ("ts_recv", "ts_event", "sequence", "bid_units", "ask_units", "bid_lots", "ask_lots")


def audit_feature_rows(frame: pl.DataFrame, session: Session) -> Audit:
    """Audit the feature rows of a session and instrument.

    NaN means "not known yet" and is allowed; an infinity is not. A column that is NaN throughout is reported, and
    stops nothing.
    """
    found = _Findings(frame, names.FEATURE_ROWS)
    if not found.columns("feature_key_columns_are_present", KEY_COLUMNS):
        return found.finish()
    key = {name: frame[name].to_numpy() for name in KEY_COLUMNS}
    found.add("feature_rows_exist", frame.height > 0, "" if frame.height else "no row was sampled")
    back = _steps_back(key["ts_recv"]) | _steps_back(key["sequence"])
    found.rows("feature_times_do_not_go_back", back, "ts_recv or sequence is before the previous row's")
    outside = (key["ts_event"] < session.open_ns) | (key["ts_event"] > session.close_ns)
    found.rows("feature_rows_lie_within_the_session", outside, "ts_event is before the open or after the close")
    features = [name for name in frame.columns if name not in KEY_COLUMNS]
    infinite = np.zeros(frame.height, np.bool_)
    empty = []
    for name in features:
        values = frame[name].to_numpy()
        infinite |= np.isinf(values)
        if frame.height and np.isnan(values).all():
            empty.append(name)
    found.rows("feature_values_are_finite_or_missing", infinite, "an infinite feature")
    both = (key["bid_lots"] > 0) & (key["ask_lots"] > 0)
    crossed = (both & (key["bid_units"] > key["ask_units"])) | (key["bid_lots"] < 0) | (key["ask_lots"] < 0)
    found.rows("feature_quotes_are_not_crossed", crossed, "bid above ask, or a negative size")
    found.add("feature_columns_are_not_all_missing", not empty, f"never known: {', '.join(empty)}" if empty else "")
    return found.finish()


class KeyedRows(Protocol):
    """Feature rows, as far as labels have to match them."""

    def key(self, name: str) -> Int64:
        """Return one key column."""
        ...


LABEL_COLUMNS: Final = (
    "ts_recv",
    "y",
    "move_units",
    "threshold_units",
    "ts_known",
    "arrive_ns",
    "entry_bid_units",
    "entry_ask_units",
    "entry_bid_lots",
    "entry_ask_lots",
)


def audit_labels(frame: pl.DataFrame, rows: KeyedRows) -> Audit:
    """Audit the labels of a session and instrument against the feature rows that they belong to."""
    found = _Findings(frame, names.LABELS)
    if not found.columns("label_columns_are_present", LABEL_COLUMNS):
        return found.finish()
    ts_recv, y, move, threshold, ts_known = (frame[name].to_numpy() for name in LABEL_COLUMNS[:5])
    row_times = rows.key("ts_recv")
    if len(row_times) != frame.height:
        found.add("labels_match_their_feature_rows", False, f"{frame.height} labels for {len(row_times)} rows")
    else:
        found.rows("labels_match_their_feature_rows", ts_recv != row_times, "ts_recv is not that of the feature row")
    known = y != LABEL_MISSING
    found.rows("label_classes_are_known", known & ~np.isin(y, LABEL_CLASSES), "no class of -1, 0, 1 or missing (-128)")
    found.rows("labels_are_known_after_their_row", ts_known <= ts_recv, "ts_known is not after ts_recv")
    implied = np.where(np.abs(move) > threshold, np.sign(move), 0)
    wrong = known & (np.isnan(move) | (implied != y))
    found.rows("label_classes_agree_with_moves", wrong, "the class is not what move and threshold say")
    found.add("labels_exist", bool(known.any()), f"{int(known.sum())} of {frame.height} rows have a label")
    return found.finish()


_NOT_NEGATIVE: Final = {
    "options": ("strike", "bid", "ask", "mark", "open_interest", "volume", "volume_usd", "underlying"),
    "social": ("votes",),
    "onchain": ("amount",),
}


STALE_NS: Final = {"options": 6 * NS_PER_HOUR, "social": 12 * NS_PER_HOUR, "onchain": 12 * NS_PER_HOUR}
"""How long before the close the newest row may have become known before a kind counts as stale."""


def audit_slow(kind: str, frame: pl.DataFrame, session: Session) -> Audit:
    """Audit one session's option chains, posts or transfers (``kind``: options, social, onchain)."""
    found = _Findings(frame, names.SLOW)
    if not found.columns("slow_columns_are_present", tuple(SLOW_SCHEMAS[kind])):
        return found.finish()
    found.add("slow_rows_exist", frame.height > 0, "" if frame.height else "nothing was recorded")
    known = frame["ts_known"].to_numpy()
    found.rows("slow_rows_are_ordered_by_known_time", _steps_back(known), "ts_known is before the previous row's")
    happened = frame[HAPPENED[kind]].to_numpy()
    found.rows("slow_rows_are_known_only_after_they_happened", known < happened, f"known before {HAPPENED[kind]}")
    inside = [(session.open_ns <= times) & (times < session.close_ns) for times in (known, happened)]
    problem = "neither happened nor became known in the session"
    found.rows("slow_rows_belong_to_the_session", ~(inside[0] | inside[1]), problem)
    doubled = frame.select(pl.struct(IDENTITY[kind]).is_duplicated()).to_series().to_numpy()
    found.rows("slow_rows_are_unique", doubled, f"two rows share {', '.join(IDENTITY[kind])}")
    negative = frame.select(pl.any_horizontal(pl.col(_NOT_NEGATIVE[kind]).fill_null(0) < 0)).to_series().to_numpy()
    found.rows("slow_values_are_not_negative", negative, f"one of {', '.join(_NOT_NEGATIVE[kind])} is negative")
    age = session.close_ns - int(known.max()) if frame.height else session.close_ns - session.open_ns
    text = (
        f"the newest row became known {age / NS_PER_HOUR:.1f} h before the close" if frame.height else "no row at all"
    )
    found.add("slow_rows_are_fresh", bool(frame.height) and age <= STALE_NS[kind], text)
    return found.finish()
