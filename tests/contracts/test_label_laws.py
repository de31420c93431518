"""The laws of labels over every form: known after their row, deaf to what comes later, silent across every break."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from features.dataset import LABEL_MISSING, NEVER_KNOWN
from features.labels import DESCRIPTIONS, FORMS, LABEL_SCHEMA, compare_forms, label_spec, make_labels, quote_path
from features.labels.persistence import last_known, macro_f1, score_label
from features.labels.spec import VOLATILITY_CELLS, Form
from features.pipeline import FeaturePipeline
from features.rows import FeatureRows
from marketdata.clock import NS_PER_S, Session
from marketdata.events import CLEAR, F_LAST, STATUS, EventArray
from marketdata.instruments import BookKind
from marketdata.settings import LabelSettings, LatencySettings, SamplingSettings
from tests.features.tape import SESSION, instrument, random_tape

LABEL = LabelSettings(horizon_ns=3 * NS_PER_S, horizon_events=60, max_gap_ns=20 * NS_PER_S, barrier_thresholds=1.5)
LATENCY = LatencySettings()
EVERY = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(scope="module")
def tape() -> EventArray:
    return random_tape(12, 3_000, gap_ms=40.0, specials=False)


@pytest.fixture(scope="module")
def rows(tape: EventArray) -> FeatureRows:
    sampling = SamplingSettings(every_events=13)
    pipeline = FeaturePipeline(instrument(), sampling, SESSION.open_ns, SESSION.close_ns, False)
    return pipeline.step(pipeline.init(), tape)[1]


def _labels(form: Form, rows: FeatureRows, tape: EventArray, session: Session = SESSION) -> pl.DataFrame:
    return make_labels(label_spec(LABEL, LATENCY, form), rows, tape, instrument(), session)


def _reference(form: Form, tape: EventArray, now: int, threshold: float) -> tuple[float, int] | None:
    """Return value and time known of a row by plain loops over the groups, None where there is no label."""
    path = quote_path(tape, LABEL.max_gap_ns)
    ts, mid = path.ts_recv.tolist(), (path.mid2 / 2.0).tolist()
    count = len(ts)
    start = now if form in ("anchored", "smoothed") else now + LATENCY.to_venue_ns
    end = start + LABEL.horizon_ns
    at = lambda t: max(g for g in range(count) if ts[g] <= t)  # noqa: E731  # a name for one line
    here = at(start)
    after = [g for g in range(count) if ts[g] > end]
    if form == "events":
        last = here + LABEL.horizon_events
        return (mid[last] - mid[here], ts[last]) if last < count else None
    if form == "next_move":
        moved = [g for g in range(here + 1, count) if mid[g] != mid[here]]
        return (mid[moved[0]] - mid[here], ts[moved[0]]) if moved and ts[moved[0]] <= end else None
    if form == "triple_barrier":
        beyond = LABEL.barrier_thresholds * threshold
        hit = [g for g in range(here + 1, count) if ts[g] <= end and abs(mid[g] - mid[here]) > beyond]
        if hit:
            return mid[hit[0]] - mid[here], ts[hit[0]]
    if not after:
        return None
    if form == "volatility":
        cells = [mid[at(start + LABEL.horizon_ns * k // VOLATILITY_CELLS)] for k in range(VOLATILITY_CELLS + 1)]
        return float(np.sqrt(np.square(np.diff(cells)).sum())), ts[after[0]]
    if form == "smoothed":
        ahead = [mid[g] for g in range(count) if now < ts[g] <= end]
        behind = [mid[g] for g in range(count) if now - LABEL.horizon_ns < ts[g] <= now]
        return (float(np.mean(ahead) - np.mean(behind)), ts[after[0]]) if ahead and behind else None
    return mid[at(end)] - mid[here], ts[after[0]]


@EVERY
def test_a_label_equals_plain_loops_over_what_came_after(form: Form, rows: FeatureRows, tape: EventArray) -> None:
    found = _labels(form, rows, tape)
    assert found.schema == pl.Schema(LABEL_SCHEMA)
    half = (rows.key("ask_units") - rows.key("bid_units")) / 2.0
    threshold = half + (rows.key("ask_units") + rows.key("bid_units")) / 2.0 * 30 / 1e6
    for k in [*range(0, found.height - 5, 29), *range(found.height - 5, found.height)]:
        row = found.row(k, named=True)
        expected = _reference(form, tape, row["ts_recv"], threshold[k])
        if expected is None:
            assert row["y"] == LABEL_MISSING
            assert np.isnan(row["move_units"])
            assert row["ts_known"] == NEVER_KNOWN
            continue
        assert row["move_units"] == pytest.approx(expected[0])
        assert row["ts_known"] == expected[1]
        scale = {"next_move": 0.0, "triple_barrier": LABEL.barrier_thresholds}.get(form, 1.0)
        assert row["threshold_units"] == pytest.approx(scale * threshold[k])
        assert row["y"] == (np.sign(expected[0]) if abs(expected[0]) > scale * threshold[k] else 0)


@EVERY
def test_a_label_is_known_only_after_its_row(form: Form, rows: FeatureRows, tape: EventArray) -> None:
    found = _labels(form, rows, tape).filter(pl.col("y") != LABEL_MISSING)
    assert found.height > 100
    assert (found["ts_known"] > found["ts_recv"]).all()
    assert (found["ts_known"] < NEVER_KNOWN).all()


@EVERY
def test_rows_after_a_label_is_known_never_change_it(form: Form, rows: FeatureRows, tape: EventArray) -> None:
    whole = _labels(form, rows, tape)
    cut = len(tape) * 2 // 3
    later = tape.copy()
    later["price_units"][cut:] += 35
    later["ts_recv"][cut:] += 7
    known = whole["ts_known"].to_numpy() < tape["ts_recv"][cut]
    assert known.sum() > 100
    assert _labels(form, rows, later).filter(known).equals(whole.filter(known))
    closed = known & (whole["ts_known"].to_numpy() < tape["ts_recv"][cut - 1])
    assert _labels(form, rows, tape[:cut]).filter(closed).equals(whole.filter(closed))


@EVERY
@pytest.mark.parametrize("what", ["clear", "halt", "silence", "close"])
def test_no_label_reaches_across_a_break_or_the_close(form: Form, tape: EventArray, what: str) -> None:
    sampling = SamplingSettings(every_events=1)
    pipeline = FeaturePipeline(instrument(), sampling, SESSION.open_ns, SESSION.close_ns, False)
    spec = replace(label_spec(LABEL, LATENCY, form), max_gap_ns=NS_PER_S)
    middle = int(np.flatnonzero(tape["flags"] & F_LAST)[1_500]) + 1
    rows = pipeline.step(pipeline.init(), tape[:middle])[1]
    broken, session, stop = tape.copy(), SESSION, int(tape["ts_recv"][middle])
    if what == "close":
        session = Session(SESSION.date, SESSION.open_ns, stop)
    elif what == "silence":
        broken["ts_recv"][middle:] += 25 * NS_PER_S
        broken["ts_event"][middle:] += 25 * NS_PER_S
    else:
        extra = broken[middle - 1 : middle].copy()
        extra["action"] = CLEAR if what == "clear" else STATUS
        extra["size_lots"] = 0
        broken = np.concatenate([broken[:middle], extra, broken[middle:]])
    whole = make_labels(spec, rows, tape, instrument(), SESSION)
    found = make_labels(spec, rows, broken, instrument(), session)
    settled = whole["ts_known"].to_numpy() < tape["ts_recv"][middle - 1]
    assert found.filter(settled).equals(whole.filter(settled))
    there = found["y"].to_numpy() != LABEL_MISSING
    assert there.sum() > 500
    # The last row's window always reaches beyond; a label that is there needed nothing that came after the break but,
    # at most, the first sign of life that shows its window to be over.
    assert not there[-1]
    assert (found["ts_known"].to_numpy()[there] <= int(broken["ts_recv"][middle])).all()


@EVERY
def test_an_instrument_that_is_not_traded_has_no_labels(form: Form, rows: FeatureRows, tape: EventArray) -> None:
    quiet = instrument(0, BookKind.TRADES_ONLY)
    found = make_labels(label_spec(LABEL, LATENCY, form), rows, tape, quiet, SESSION)
    assert found.height == len(rows.keys)
    assert (found["y"] == LABEL_MISSING).all()


def test_every_form_has_words_and_a_fingerprint_of_its_own_and_settings_choose_one() -> None:
    specs = [label_spec(LABEL, LATENCY, form) for form in FORMS]
    assert len({spec.fingerprint for spec in specs}) == len(FORMS)
    assert DESCRIPTIONS.keys() == set(FORMS)
    assert label_spec(LabelSettings(), LATENCY).form == "executable"
    assert label_spec(LabelSettings(form="next_move"), LATENCY).form == "next_move"
    with pytest.raises(ValueError, match="unknown label form"):
        label_spec(LABEL, LATENCY, "tomorrow")  # type: ignore[arg-type]  # a wrong name on purpose


def test_what_is_past_gives_the_smoothed_label_away_and_not_the_executable_one(
    rows: FeatureRows, tape: EventArray
) -> None:
    scores = {item.form: item for item in compare_forms(rows, tape, instrument(), LABEL, LATENCY, SESSION)}
    assert list(scores) == list(FORMS)
    assert scores["smoothed"].previous_row > scores["executable"].previous_row
    assert scores["smoothed"].already_happened > scores["smoothed"].majority
    assert scores["next_move"].flat == 0
    assert scores["volatility"].down == 0
    for score in scores.values():
        assert score.down + score.flat + score.up == pytest.approx(1.0)
        assert 0 < score.labelled <= score.rows == len(rows.keys)


def test_persistence_repeats_only_what_was_known() -> None:
    y = np.array([1, -1, 0, 1, LABEL_MISSING, 1], np.int8)
    ts = np.arange(6) * 10
    known = np.array([15, 60, 25, 41, NEVER_KNOWN, 70])
    assert last_known(y, ts, known).tolist() == [LABEL_MISSING, LABEL_MISSING, 1, 0, 0, 1]
    score = score_label("x", y, ts, known)
    assert score.persistence == pytest.approx(1 / 3)  # 1 for 0, 0 for 1, 1 for 1
    assert score.previous_row == 0.0
    assert macro_f1(np.array([1, 1, 0], np.int8), np.array([1, 0, 0], np.int8)) == pytest.approx(2 / 3)
