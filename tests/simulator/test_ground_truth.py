"""The truth that a session keeps is the truth: estimators that see the tape find it where they should."""

import numpy as np
import polars as pl
import pytest
from numba import njit

from marketdata.clock import NS_PER_S, Session
from marketdata.events import ADD, DELETE, EXECUTE
from marketdata.simulator.parameters import (
    FAST_DECAY,
    HAWKES_NAMES,
    LEADS,
    MARKET_ORDERS_PER_S,
    MIDDLE_DECAY,
    SLOW_DECAY,
    lead_graph,
    market_order_branching,
)
from marketdata.simulator.session import SimulatedSession, simulate_session
from tests.simulator.worlds import SYMBOLS, make_settings, simulate_many

DECAYS = np.array([FAST_DECAY, MIDDLE_DECAY, SLOW_DECAY])
Worlds = list[tuple[Session, SimulatedSession]]


@pytest.fixture(scope="module")
def null_worlds() -> Worlds:
    return simulate_many(make_settings(1, world="n1"), 4)


@pytest.fixture(scope="module")
def market_worlds() -> Worlds:
    return simulate_many(make_settings(5), 4)


# -- intensities and kernels -----------------------------------------------------------------------------------------------
@njit(cache=True)
def _design(times: np.ndarray, kind: np.ndarray, decays: np.ndarray) -> np.ndarray:
    """Return, at each event, what earlier events of its own and of the other kind add per unit of branching, shape (n, 2B)."""
    out = np.zeros((len(times), 2 * len(decays)))
    state = np.zeros((2, len(decays)))
    last = 0.0
    for k in range(len(times)):
        for b in range(len(decays)):
            keep = np.exp(-decays[b] * (times[k] - last))
            for j in range(2):
                state[j, b] *= keep
            out[k, 2 * b] = state[kind[k], b]
            out[k, 2 * b + 1] = state[1 - kind[k], b]
        for b in range(len(decays)):
            state[kind[k], b] += decays[b]
        last = times[k]
    return out


def fit_market_orders(worlds: Worlds, symbol: str) -> np.ndarray:
    """Return (base rate, own and other branching on each decay) of market orders by expectation-maximisation."""
    at, integral = [], np.zeros(7)
    for session, world in worlds:
        orders = world.truth.orders.filter(pl.col("symbol") == symbol)
        path = world.truth.path.filter(pl.col("symbol") == symbol)
        times = (orders["ts"].to_numpy() - session.open_ns) / NS_PER_S
        activity = path["activity"].to_numpy()
        end = float(len(activity))
        base = activity[np.minimum(times.astype(int), len(activity) - 1)]
        at.append(np.column_stack([base, _design(times, (orders["side"].to_numpy() < 0).astype(int), DECAYS)]))
        integral[0] += 2 * activity.sum()
        for b, decay in enumerate(DECAYS):
            integral[1 + 2 * b : 3 + 2 * b] += np.sum(1 - np.exp(-decay * (end - times)))
    x = np.concatenate(at)
    theta = np.full(7, 0.1)
    for _ in range(600):
        theta *= (x / (x @ theta)[:, None]).sum(axis=0) / integral
    return theta


def test_a_hawkes_fit_of_the_true_orders_finds_the_true_kernels(null_worlds: Worlds) -> None:
    base, *branching = fit_market_orders(null_worlds, "ALFA")
    kernels = null_worlds[0][1].truth.kernels
    true = [
        kernels.filter((pl.col("child") == "buy") & (pl.col("parent") == parent) & (pl.col("decay_per_s") == decay))[
            "branching"
        ].item()
        for decay in DECAYS
        for parent in ("buy", "sell")
    ]
    assert sum(true) == pytest.approx(market_order_branching())
    assert base == pytest.approx(0.5 * MARKET_ORDERS_PER_S * (1 - market_order_branching()), rel=0.15)
    assert branching == pytest.approx(true, abs=0.05)
    assert sum(branching) == pytest.approx(sum(true), abs=0.05)


def test_counts_follow_the_true_intensities_of_every_type(null_worlds: Worlds) -> None:
    """Rescaled counts: over windows of ten minutes, orders less the integral of their intensity are noise of its size."""
    for name, side in (("buy", 1), ("sell", -1)):
        z = []
        for session, world in null_worlds:
            path = world.truth.path["ts"].to_numpy()
            intensity = world.truth.path[f"{name}_intensity"].to_numpy()
            ts = world.truth.orders.filter(pl.col("side") == side)["ts"].to_numpy()
            edges = np.arange(session.open_ns, session.close_ns + 1, 600 * NS_PER_S)
            counts = np.histogram(ts, edges)[0]
            expected = np.histogram(path - 1, edges, weights=intensity)[0]
            z.extend((counts - expected) / np.sqrt(expected))
        assert abs(np.mean(z)) < 3 / np.sqrt(len(z))
        assert 0.7 < np.std(z) < 1.3


def test_the_intensity_of_every_type_is_kept_and_each_explains_its_rows(null_worlds: Worlds) -> None:
    session, world = null_worlds[0]
    path, ticks = world.truth.path, world.ticks["ALFA"].filter(pl.col("sequence") > 1)
    assert {f"{name}_intensity" for name in HAWKES_NAMES} <= set(path.columns)
    seconds = (session.close_ns - session.open_ns) // NS_PER_S
    assert path.height == seconds
    added = sum(float(path[f"{name}_intensity"].sum()) for name in HAWKES_NAMES if "add" in name or "improve" in name)
    assert added == pytest.approx(ticks.filter(pl.col("action") == ADD).height, rel=0.1)
    cancelled = sum(float(path[f"{name}_intensity"].sum()) for name in HAWKES_NAMES if "cancel" in name)
    assert cancelled < ticks.filter(pl.col("action") == DELETE).height, "makers also pull what has become stale"


def test_every_true_order_is_an_aggressor_on_the_tape(null_worlds: Worlds) -> None:
    _, world = null_worlds[0]
    traded = world.ticks["ALFA"].filter(pl.col("action") == EXECUTE).unique("sequence")["ts_event"].sort().to_numpy()
    orders = world.truth.orders["ts"].to_numpy()
    at = np.searchsorted(traded, orders - 1)
    assert np.mean(np.abs(traded[np.minimum(at, len(traded) - 1)] - orders) <= 2) > 0.99


# -- the lead-lag graph ----------------------------------------------------------------------------------------------------
def lead_scores(worlds: Worlds, symbols: tuple[str, ...]) -> np.ndarray:
    """Return z-scores, shape (I, I): same-side aggressors of j in the second after one of i, less those in the second before."""
    size = len(symbols)
    gap, variance = np.zeros((size, size)), np.zeros((size, size))
    for _, world in worlds:
        times: dict[tuple[int, int], np.ndarray] = {}
        for k, symbol in enumerate(symbols):
            executed = world.ticks[symbol].filter(pl.col("action") == EXECUTE)
            groups = executed.group_by("sequence", maintain_order=True).agg(pl.first("ts_event"), pl.first("side"))
            for sign in (-1, 1):
                times[k, sign] = groups.filter(pl.col("side") == -sign)["ts_event"].to_numpy()
        for i in range(size):
            for j in range(size):
                if i == j:
                    continue
                for sign in (-1, 1):
                    lead, follow = times[i, sign], times[j, sign]
                    now = np.searchsorted(follow, lead)
                    after = np.searchsorted(follow, lead + NS_PER_S) - now
                    before = now - np.searchsorted(follow, lead - NS_PER_S)
                    gap[i, j] += (after - before).sum()
                    variance[i, j] += ((after - before) ** 2).sum()
    return gap / np.sqrt(np.where(variance > 0, variance, 1.0))


def test_who_trades_after_whom_gives_back_the_lead_lag_graph(market_worlds: Worlds) -> None:
    scores = lead_scores(market_worlds, SYMBOLS)
    strongest = {
        tuple(map(int, np.unravel_index(k, scores.shape))) for k in np.argsort(scores, axis=None)[-len(LEADS) :]
    }
    assert strongest == {(lead.leader, lead.follower) for lead in LEADS}
    graph = market_worlds[0][1].truth.graph
    assert {
        (SYMBOLS.index(a), SYMBOLS.index(b)) for a, b in graph.select("leader", "follower").iter_rows()
    } == strongest


def test_the_true_regime_is_visible_in_the_volatility_and_the_activity_it_makes(market_worlds: Worlds) -> None:
    moved: dict[str, list[float]] = {"calm": [], "stressed": []}
    for _, world in market_worlds:
        path = world.truth.path.filter(pl.col("symbol") == "ALFA")
        ts, value = path["ts"].to_numpy(), path["efficient_units"].to_numpy()
        for start, end, regime in world.truth.regimes.iter_rows():
            own = value[(ts > start) & (ts <= end)]
            if regime in moved and len(own) > 60:
                moved[regime].append(float(np.mean(np.diff(own) ** 2)))
    assert np.mean(moved["stressed"]) > 1.3 * np.mean(moved["calm"])


# -- more instruments than characters --------------------------------------------------------------------------------------
def test_more_instruments_repeat_the_graph_and_follow_the_first_of_all() -> None:
    edges = {(lead.leader, lead.follower) for lead in lead_graph(set(range(8)))}
    assert edges == {(0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (5, 6), (5, 7)}
    assert lead_graph({0, 1, 2, 3, 4}) == list(LEADS)
    assert all(lead.leader < lead.follower for lead in lead_graph(set(range(26))))


def test_an_instrument_beyond_the_characters_changes_none_before_it() -> None:
    from marketdata.simulator.files import with_instruments

    base = make_settings(5, events_per_session=5_000)
    session = base.market_calendar().first_sessions(base.start_date, 1)[0]
    five, seven = simulate_session(base, session, 0), simulate_session(with_instruments(base, 7), session, 0)
    assert list(seven.ticks) == [*SYMBOLS, "FOXTROT", "GOLF"]
    for symbol in SYMBOLS:
        assert seven.ticks[symbol].equals(five.ticks[symbol])
    assert seven.truth.graph.filter(pl.col("follower") == "FOXTROT")["leader"].to_list() == ["ALFA"]
