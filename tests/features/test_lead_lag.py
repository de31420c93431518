"""Lead-lag and correlation across instruments: against a slow reference, causal, the same however cut, found where planted."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from features import lead_lag
from features.assembler import RowAssembler
from features.catalog import dataset_catalogue
from features.dataset_day import build_dataset_day
from features.entry import MIDDLE
from features.labels import executable_labels
from features.lead_lag import LEAST, REACH, SAMPLES, STEPS
from features.pipeline import rows_of_session, session_pipeline
from features.rows import KEY_COLUMNS
from marketdata.clock import NS_PER_S
from marketdata.settings import Settings
from models.forecaster import copy_state
from tests.features.tape import OPEN_NS, SESSION, random_tape, settings

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

ON = settings(3, sampling={"families": ("core", "lead_lag"), "every_events": 20})
ASSEMBLER = RowAssembler(ON)
WINDOW = ON.sampling.windows_ns[MIDDLE]
ENTRIES = lead_lag.entries(ON.sampling)
NAMES = [entry.name for entry in ENTRIES]
FIRST = ASSEMBLER.columns.index(NAMES[0])
RETURN = ASSEMBLER.spec.columns.index("mid_return_bps_10s")
FLOW = ASSEMBLER.spec.columns.index("ofi_best_10s")


def _rows(seed: int, count: int, lead: float = 0.0, gap_s: float = 2.0) -> tuple[Int64, Int64, Float64]:
    """Return (instrument, ts, raw values) of rows of three instruments; instrument 0 moves a window before the others."""
    rng = np.random.default_rng(seed)
    ts = OPEN_NS + np.cumsum(rng.exponential(gap_s * NS_PER_S, count).astype(np.int64))
    owner = rng.integers(0, 3, count)
    steps = rng.normal(0.0, 1.0, (int((ts[-1] - OPEN_NS) // NS_PER_S) + 40, 3)).round(3)
    steps[10:, 1:] += lead * steps[:-10, :1]
    steps[5:, 2] += 0.3 * steps[5:, 1]
    path = np.cumsum(steps, axis=0)
    second = (ts - OPEN_NS) // NS_PER_S + 20
    values = rng.normal(0.0, 1.0, (count, len(ASSEMBLER.spec.columns)))
    values[:, RETURN] = path[second, owner] - path[second - 10, owner]
    values[:, FLOW] = values[:, RETURN] * 0.2 + rng.normal(0.0, 1.0, count)
    values[rng.random(count) < 0.03, RETURN] = np.nan
    values[rng.random(count) < 0.03, FLOW] = np.nan
    return owner, ts, values


def _columns(owner: Int64, ts: Int64, values: Float64) -> npt.NDArray[np.float32]:
    return ASSEMBLER.assemble(ASSEMBLER.init(), owner, ts, values)[:, FIRST : FIRST + len(NAMES)]


def _latest(owner: Int64, ts: Int64, values: Float64, peer: int, row: int, now: int, column: int) -> float:
    """Return what a peer's latest row before ``row`` says, NaN where it is older than a window."""
    before = np.flatnonzero(owner[:row] == peer)
    return values[before[-1], column] if len(before) and ts[before[-1]] >= now - WINDOW else np.nan


def _as_of(owner: Int64, ts: Int64, values: Float64, peer: int, row: int, then: int, column: int) -> float:
    """Return what a peer's latest remembered row at ``then`` says: of each part of a window the newest row is remembered."""
    before = np.flatnonzero(owner[:row] == peer)
    before = before[ts[before] > then - 2 * WINDOW]
    last = np.diff(ts[before] // (WINDOW // STEPS), append=-1) != 0
    known = [k for k in before[last] if ts[k] <= then]
    return values[known[-1], column] if known and ts[known[-1]] >= then - WINDOW else np.nan


def _samples(owner: Int64, ts: Int64, values: Float64, me: int, row: int) -> list[int]:
    """Return the rows up to ``row`` that were samples of an instrument and still count at the newest of them."""
    taken: list[int] = []
    for k in np.flatnonzero(owner[: row + 1] == me):
        if not np.isnan(values[k, RETURN]) and (not taken or ts[k] - ts[taken[-1]] >= WINDOW):
            taken.append(int(k))
    return [k for k in taken[-SAMPLES:] if ts[k] > ts[taken[-1]] - REACH * WINDOW]


def _related(own: list[float], other: list[float]) -> tuple[float, float]:
    known = np.isfinite(other)
    y, x = np.array(own)[known], np.array(other)[known]
    if len(y) < LEAST:
        return np.nan, np.nan
    return float(np.corrcoef(y, x)[0, 1]), float(np.polyfit(x, y, 1)[0])


def _pair(rows: tuple[Int64, Int64, Float64], me: int, peer: int, row: int) -> list[tuple[float, float]]:
    """Return (correlation, slope) together, lagged and on lagged flow, by numpy."""
    owner, ts, values = rows
    taken = _samples(owner, ts, values, me, row)
    own = [values[k, RETURN] for k in taken]
    seen = [_latest(owner, ts, values, peer, k, ts[k], RETURN) for k in taken]
    then = {c: [_as_of(owner, ts, values, peer, k, ts[k] - WINDOW, c) for k in taken] for c in (RETURN, FLOW)}
    return [_related(own, seen), _related(own, then[RETURN]), _related(own, then[FLOW])]


def _reference(rows: tuple[Int64, Int64, Float64], row: int) -> Float64:
    owner, ts, values = rows
    out = np.full(len(NAMES), np.nan)
    me, now = int(owner[row]), int(ts[row])
    mine = values[row, RETURN]
    if np.isnan(mine):
        return out
    gathered: dict[str, list[tuple[float, ...]]] = {"together": [], "lead": [], "led": [], "flow": []}
    for peer in range(3):
        move = _latest(owner, ts, values, peer, row, now, RETURN)
        if peer == me or np.isnan(move):
            continue
        together, lead, flow = _pair(rows, me, peer, row)
        led = _pair(rows, peer, me, row)[1][0]
        push = _latest(owner, ts, values, peer, row, now, FLOW)
        gathered["together"].append((together[0], together[1] * move - mine))
        gathered["lead"].append((lead[0], lead[1] * move))
        gathered["led"].append((led,))
        gathered["flow"].append((flow[0], flow[1] * push) if np.isfinite(push) else (np.nan, np.nan))
    known = {key: [item for item in items if np.isfinite(item[0])] for key, items in gathered.items()}
    if known["together"]:
        out[0] = np.mean([item[0] for item in known["together"]])
        out[1:3] = max(known["together"], key=lambda item: abs(item[0]))
    if known["lead"]:
        out[3] = np.mean([item[0] for item in known["lead"]])
        out[5:7] = max(known["lead"], key=lambda item: abs(item[0]))
        out[7] = np.mean([item[1] for item in known["lead"]])
    if known["led"]:
        out[4] = np.mean([item[0] for item in known["led"]])
    if known["flow"]:
        out[8], out[9] = np.mean(known["flow"], axis=0)
    return out


@pytest.fixture(scope="module")
def rows() -> tuple[Int64, Int64, Float64]:
    return _rows(1, 3_000, lead=0.8)


@pytest.fixture(scope="module")
def found(rows: tuple[Int64, Int64, Float64]) -> npt.NDArray[np.float32]:
    return _columns(*rows)


def test_the_columns_equal_a_slow_reference(rows: tuple[Int64, Int64, Float64], found: npt.NDArray[np.float32]) -> None:
    some = [*range(60, 400, 17), *range(700, 3_000, 97)]
    expected = np.array([_reference(rows, row) for row in some])
    np.testing.assert_allclose(found[some], expected, rtol=2e-5, atol=2e-5)
    assert np.isfinite(expected).mean() > 0.6


def test_one_row_at_a_time_and_a_checkpoint_give_the_same_bits(rows: tuple[Int64, Int64, Float64]) -> None:
    owner, ts, values = rows
    whole = ASSEMBLER.assemble(ASSEMBLER.init(), owner, ts, values)
    state = ASSEMBLER.init()
    keys = np.zeros(len(KEY_COLUMNS), np.int64)
    for k in range(1_500):
        keys[0] = ts[k]
        single = ASSEMBLER.step(state, f"I{owner[k]}", keys, values[k])
        assert single.tobytes() == whole[k].tobytes(), k
    saved = copy_state(state)
    ASSEMBLER.assemble(state, owner[1_500:], ts[1_500:], -values[1_500:])
    again = ASSEMBLER.assemble(saved, owner[1_500:], ts[1_500:], values[1_500:])
    assert again.tobytes() == whole[1_500:].tobytes()


def test_later_rows_change_no_earlier_one(rows: tuple[Int64, Int64, Float64], found: npt.NDArray[np.float32]) -> None:
    owner, ts, values = rows
    changed = values.copy()
    changed[2_000:] *= -3.0
    other = _columns(owner, ts, changed)
    assert other[:2_000].tobytes() == found[:2_000].tobytes()
    assert other[2_000:].tobytes() != found[2_000:].tobytes()


def test_a_mirrored_market_flips_what_the_catalogue_calls_odd(
    rows: tuple[Int64, Int64, Float64], found: npt.NDArray[np.float32]
) -> None:
    owner, ts, values = rows
    mirrored = _columns(owner, ts, -values)
    for k, entry in enumerate(ENTRIES):
        sign = -1.0 if entry.mirror == "odd" else 1.0
        np.testing.assert_array_equal(mirrored[:, k], sign * found[:, k], err_msg=entry.name)


def test_a_planted_leader_is_found_and_what_it_says_comes_true() -> None:
    rows = _rows(2, 6_000, lead=0.8, gap_s=0.5)
    owner, ts, _ = rows
    found = _columns(*rows)
    warm = ts > OPEN_NS + 60 * LEAST * NS_PER_S
    value = dict(zip(NAMES, found.T, strict=True))
    follower, leader = warm & (owner == 1), warm & (owner == 0)
    assert np.nanmedian(value["leader_lead_10s"][follower]) > 0.35
    assert np.nanmedian(value["peer_lead_10s"][leader]) < 0.15
    assert np.nanmedian(value["own_lead_10s"][leader]) > 0.3
    signal, reach = value["leader_signal_bps_10s"], []
    later = []
    for k in np.flatnonzero(follower & np.isfinite(signal)):
        after = np.flatnonzero(follower & (ts >= ts[k] + WINDOW) & (ts <= ts[k] + WINDOW + NS_PER_S))
        if len(after) and np.isfinite(rows[2][after[0], RETURN]):
            reach.append(signal[k])
            later.append(rows[2][after[0], RETURN])
    assert len(later) > 100
    assert np.corrcoef(reach, later)[0, 1] > 0.25, "the signal forecasts the next window's move"


def test_nothing_is_known_before_the_warm_up_or_without_fresh_peers() -> None:
    owner, ts, values = _rows(5, 1_200)
    columns = _columns(owner, ts, values)
    assert np.isnan(columns[ts < ts[0] + ENTRIES[0].warmup_ns]).all()
    assert np.isfinite(columns).any(axis=0).all()
    alone = np.zeros(len(owner), np.int64)
    assert np.isnan(_columns(alone, ts, values)).all()


def test_the_memory_bounds_what_a_value_reaches_back_to() -> None:
    owner, ts, values = _rows(6, 2_600, gap_s=3.0)
    late = int(np.searchsorted(ts, ts[-1] - 600 * NS_PER_S))
    changed = values.copy()
    changed[ts < ts[late] - ENTRIES[0].memory_ns] *= -5.0
    assert (ts < ts[late] - ENTRIES[0].memory_ns).sum() > 300
    one, other = _columns(owner, ts, values)[late:], _columns(owner, ts, changed)[late:]
    np.testing.assert_array_equal(one, other)


def test_the_family_is_off_by_default_and_changes_nothing_then() -> None:
    usual = RowAssembler(settings(3))
    assert not set(NAMES) & set(usual.columns)
    assert usual.memory_ns < ASSEMBLER.memory_ns == ENTRIES[0].memory_ns
    assert usual.fingerprint != ASSEMBLER.fingerprint
    assert usual.fingerprint == RowAssembler(settings(3, sampling={"families": ("core",)})).fingerprint
    for config in (ON, settings(3), settings(2, sampling={"families": ("all",)})):
        assert tuple(entry.name for entry in dataset_catalogue(config)) == RowAssembler(config).columns


def test_the_night_and_a_live_session_fill_the_same_bits() -> None:
    config = settings(3, sampling={"families": ("core", "lead_lag"), "every_events": 20})
    tapes = [random_tape(30 + k, 9_000, instrument_id=k, gap_ms=150.0, specials=False) for k in range(3)]
    rows: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    for item, tape in zip(config.instruments, tapes, strict=True):
        rows[item.symbol] = rows_of_session(config, item, SESSION, tape)
        labels[item.symbol] = executable_labels(rows[item.symbol], tape, item, config.label, config.latency, SESSION)
    frame, _ = build_dataset_day(SESSION.date, config, rows, labels, {}, {})
    night = frame.select(NAMES).to_numpy()
    assert np.isfinite(night).mean(axis=0).min() > 0.3
    assert len(night) == sum(len(part.keys) for part in rows.values()), "nothing was thinned"
    live = _live_rows(config, np.concatenate(tapes))
    assert live.tobytes() == np.ascontiguousarray(night).tobytes()


def _live_rows(config: Settings, events: Any) -> npt.NDArray[np.float32]:
    """Return the columns as a live session fills them: small batches of all instruments, each row joined when it is complete."""
    assembler = RowAssembler(config)
    pipelines = [session_pipeline(config, item, SESSION) for item in config.instruments]
    states, joined = [pipeline.init() for pipeline in pipelines], assembler.init()
    events = events[np.argsort(events["ts_recv"], kind="stable")]
    waiting: list[tuple[int, int, Int64, Float64]] = []
    out = []
    for start in range(0, len(events), 13):
        batch = events[start : start + 13]
        for k, pipeline in enumerate(pipelines):
            states[k], fresh = pipeline.step(states[k], batch[batch["instrument_id"] == k])
            waiting += [(int(key[0]), k, key, value) for key, value in zip(fresh.keys, fresh.values, strict=True)]
        waiting.sort(key=lambda item: item[:2])
        watermark = int(batch["ts_recv"][-1]) if start + 13 < len(events) else np.iinfo(np.int64).max
        while waiting and waiting[0][0] < watermark:
            _, k, key, value = waiting.pop(0)
            out.append(assembler.step(joined, config.instruments[k].symbol, key, value)[FIRST : FIRST + len(NAMES)])
    return np.array(out)
