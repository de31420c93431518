"""What the simulated market is like: its stylised facts, its hidden truth, and who can earn in it."""

import numpy as np
import polars as pl
import pytest

from marketdata.clock import NS_PER_MS, NS_PER_S, Session
from marketdata.events import ADD, EXECUTE
from marketdata.presets import preset
from marketdata.simulator.calibration import STRENGTH_MAP, informed_move_units
from marketdata.simulator.latent import draw_episodes, draw_latent
from marketdata.simulator.oracle import (
    measure_strength_map,
    net_spreads,
    oracle_profit,
    quotes,
    quotes_at,
)
from marketdata.simulator.parameters import ARBITRAGE_UNITS, STEP_S
from marketdata.simulator.session import SimulatedSession, simulate_session
from marketdata.simulator.truth import efficient_price, oracle_edge
from tests.simulator.worlds import SYMBOLS, hour, make_settings, mid_each_second, signature, simulate_many

HORIZONS_S = (10, 30, 60, 120, 300, 600, 1_800)
Worlds = list[tuple[Session, SimulatedSession]]


@pytest.fixture(scope="module")
def null_worlds() -> Worlds:
    return simulate_many(make_settings(3, world="n1"), 4)


@pytest.fixture(scope="module")
def flat_worlds() -> Worlds:
    return simulate_many(make_settings(2, signal=0.0), 4)


def aggressors(world: SimulatedSession, symbol: str) -> pl.DataFrame:
    """Return one row an aggressor: time and sign (1 buys)."""
    executed = world.ticks[symbol].filter(pl.col("action") == EXECUTE)
    groups = executed.group_by("sequence", maintain_order=True).agg(pl.first("ts_event"), pl.first("side"))
    return groups.select("ts_event", (-pl.col("side").cast(pl.Int64)).alias("sign"))


def autocorrelation(values: np.ndarray, lag: int) -> float:
    return float(np.corrcoef(values[:-lag], values[lag:])[0, 1])


@pytest.mark.parametrize("worlds", ["null_worlds", "flat_worlds"])
def test_the_signature_plot_is_flat_from_ten_seconds_to_five_minutes(
    worlds: str, request: pytest.FixtureRequest
) -> None:
    made: Worlds = request.getfixturevalue(worlds)
    paths = [mid_each_second(world, s, session) for session, world in made for s in world.ticks]
    rate = signature(paths, HORIZONS_S[:5])
    assert (np.abs(rate / rate.mean() - 1.0) < 0.15).all(), rate / rate.mean()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("simulator", [{"world": "n1"}, {"signal": 0.0}])
def test_the_signature_plot_is_flat_up_to_half_an_hour(simulator: dict[str, object]) -> None:
    made = simulate_many(make_settings(5, **simulator), 20)
    paths = [mid_each_second(world, s, session) for session, world in made for s in world.ticks]
    rate = signature(paths, HORIZONS_S)
    assert (np.abs(rate / rate.mean() - 1.0) < 0.15).all(), rate / rate.mean()


def test_returns_have_fat_tails_and_volatility_clusters(null_worlds: Worlds) -> None:
    moves = [np.diff(mid_each_second(world, s, session)[::60]) for session, world in null_worlds for s in world.ticks]
    pooled = np.concatenate(moves)
    assert np.mean(pooled**4) / np.mean(pooled**2) ** 2 > 4.0
    assert np.mean([autocorrelation(np.abs(m), 1) for m in moves]) > 0.07
    assert abs(np.mean([autocorrelation(m, 1) for m in moves])) < 0.1


def test_the_market_runs_hot_and_cold_and_the_informed_with_it() -> None:
    settings = make_settings(1)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 20)
    heats = [draw_latent(settings.simulator, session).heat for session in sessions]
    assert np.mean(heats) == pytest.approx(1.0, abs=0.06)
    logs = [np.log(heat[::300]) for heat in heats]
    assert 0.25 < np.mean([autocorrelation(own, 1) for own in logs]) < 0.65, "a minute knows of the one before"
    hot = np.where(np.arange(len(heats[0])) % 6_000 < 3_000, 3.0, 0.2)
    duration_s = len(hot) * STEP_S
    starts = np.concatenate(
        [draw_episodes(np.random.default_rng(k), hot, duration_s, 1.0, 1.0).start_s for k in range(20)]
    )
    in_hot = np.mean(hot[(starts / STEP_S).astype(int)] > 1.0)
    assert in_hot > 0.75, "episodes come where it is hot, but for the time that each takes"
    assert 20 * 36 * duration_s / 3_600 * 0.6 < len(starts) < 20 * 36 * duration_s / 3_600 * 1.4


def test_a_quote_that_news_has_made_dear_is_gone_within_a_millisecond(null_worlds: Worlds) -> None:
    dear, stays = 0, 0
    for session, world in null_worlds:
        for symbol in world.ticks:
            ts, best = quotes(world.ticks[symbol])
            when = np.arange(session.open_ns + 60 * NS_PER_S, session.close_ns, NS_PER_S)
            value = efficient_price(world.truth, symbol, when)
            now, later = (quotes_at(ts, best, when + wait) for wait in (0, NS_PER_MS))
            for column, beyond in ((0, now[:, 0] - value), (2, value - now[:, 2])):
                chosen = beyond > ARBITRAGE_UNITS + 0.02
                dear += int(chosen.sum())
                stays += int(np.sum(chosen & (later[:, column] == now[:, column])))
    assert dear > 20, "whole seconds are when news has just come"
    assert stays < 0.1 * dear


def test_a_dear_quote_goes_also_where_a_fast_move_has_left_a_side_its_last_orders() -> None:
    settings = preset("simulated", None)
    simulator = settings.simulator.model_copy(update={"world": "n1", "signal": 0.0, "seed": 61_002})
    settings = settings.model_copy(update={"simulator": simulator})
    session = settings.market_calendar().first_sessions(settings.start_date, 75)[-1]
    world = simulate_session(settings, session, 74)
    when = np.arange(session.open_ns + 60 * NS_PER_S, session.close_ns, NS_PER_S)
    dear = 0
    for symbol, ticks in world.ticks.items():
        ts, best = quotes(ticks)
        value = efficient_price(world.truth, symbol, when)
        now, later = (quotes_at(ts, best, when + wait) for wait in (0, 10 * NS_PER_MS))
        for column, beyond in ((0, now[:, 0] - value), (2, value - now[:, 2])):
            chosen = beyond > ARBITRAGE_UNITS + 0.1
            dear += int(chosen.sum())
            assert not np.any(chosen & (later[:, column] == now[:, column])), symbol
    assert dear > 5


def test_an_aggressor_that_empties_a_level_shows_that_it_would_have_taken_more(null_worlds: Worlds) -> None:
    emptied, shown = 0, 0
    for _, world in null_worlds[:2]:
        ticks = world.ticks["ALFA"]
        _, best = quotes(ticks)
        traded = pl.col("action") == EXECUTE
        groups = ticks.group_by("sequence", maintain_order=True).agg(
            traded.any().alias("trades"),
            pl.first("side"),
            (pl.col("action") == ADD).any().alias("rests"),
            pl.col("price_units").filter(traded).n_unique().alias("prices"),
        )
        at = np.flatnonzero(groups["trades"].to_numpy())
        own = groups[at]
        column = np.where(own["side"].to_numpy() > 0, 0, 2)
        gone = best[at, column] != best[at - 1, column]
        emptied += int(gone.sum())
        shown += int((gone & (own["rests"] | (own["prices"] > 1)).to_numpy()).sum())
    assert emptied > 1_000
    assert shown > 0.9 * emptied, "but for those who wanted just what was there"


def test_signs_have_memory_in_a_market_without_information(null_worlds: Worlds) -> None:
    signs = [aggressors(world, "ALFA")["sign"].to_numpy().astype(float) for _, world in null_worlds]
    at = {lag: np.mean([autocorrelation(s, lag) for s in signs]) for lag in (1, 5, 10)}
    assert at[1] > 0.15
    assert at[5] > 0.04
    assert at[10] > 0.02


def test_activity_is_higher_after_the_open_and_before_the_close(null_worlds: Worlds) -> None:
    shares = []
    for session, world in null_worlds:
        when = (world.ticks["ALFA"]["ts_event"].to_numpy() - session.open_ns) / (session.close_ns - session.open_ns)
        shares.append(np.histogram(when, bins=13, range=(0, 1))[0])
    by_half_hour = np.mean(shares, axis=0)
    middle = by_half_hour[5:8].mean()
    assert by_half_hour[0] > 1.3 * middle
    assert by_half_hour[-1] > 1.1 * middle


def test_the_mid_stays_within_half_a_spread_of_the_efficient_price(null_worlds: Worlds) -> None:
    session, world = null_worlds[0]
    ts, best = quotes(world.ticks["ALFA"])
    when = np.arange(session.open_ns + 60 * NS_PER_S, session.close_ns, NS_PER_S)
    at = quotes_at(ts, best, when)
    gap = 0.5 * (at[:, 0] + at[:, 2]) - efficient_price(world.truth, "ALFA", when)
    assert gap.std() < 0.5
    assert abs(gap.mean()) < 0.05


def test_informed_flow_shows_on_the_tape_before_the_price_moves(flat_worlds: Worlds) -> None:
    _, world = flat_worlds[0]
    orders = aggressors(world, "ALFA")
    own = world.truth.episodes.filter(pl.col("symbol") == "ALFA")
    ts, total = orders["ts_event"].to_numpy(), np.concatenate([[0], np.cumsum(orders["sign"].to_numpy())])
    push, direction = own["push_ns"].to_numpy(), own["direction"].to_numpy()

    def net(first: np.ndarray, last: np.ndarray) -> np.ndarray:
        return (total[np.searchsorted(ts, last)] - total[np.searchsorted(ts, first)]) * direction

    assert np.mean(net(push - 10 * NS_PER_S, push) > 5) > 0.95, "the last ten seconds leave no doubt"
    start = own["start_ns"].to_numpy()
    assert np.mean(net(start, start + 10 * NS_PER_S) > 0) > 0.6, "the first ten give a hint"
    seconds = push - 10 * NS_PER_S
    quiet = np.mean(np.abs(net(seconds - 60 * NS_PER_S, seconds - 50 * NS_PER_S)))
    assert quiet < 0.4 * np.mean(net(seconds, push)), "and quiet times look different"


def test_the_oracles_edge_is_the_move_that_is_coming(flat_worlds: Worlds) -> None:
    session, world = flat_worlds[0]
    own = world.truth.episodes.filter(pl.col("symbol") == "ALFA")
    signed = own["direction"].to_numpy() * own["move_units"].to_numpy()
    before = oracle_edge(world.truth, "ALFA", own["push_ns"].to_numpy() - NS_PER_S, 10 * NS_PER_S)
    halfway = (own["push_ns"].to_numpy() + own["end_ns"].to_numpy()) // 2
    after = oracle_edge(world.truth, "ALFA", own["end_ns"].to_numpy(), 5 * NS_PER_S)
    assert np.allclose(before, signed, atol=0.02), "but for the mood's tilt"
    assert np.allclose(oracle_edge(world.truth, "ALFA", halfway, 5 * NS_PER_S), signed / 2, atol=0.02)
    assert np.allclose(after, 0.0, atol=0.02)
    ts, best = quotes(world.ticks["ALFA"])
    when = np.arange(session.open_ns + 60 * NS_PER_S, session.close_ns - 60 * NS_PER_S, 2 * NS_PER_S)
    mid = 0.5 * (best[:, 0] + best[:, 2])
    moves = [mid[np.searchsorted(ts, when + h, side="right") - 1] for h in (0, 10 * NS_PER_S)]
    slope = np.polyfit(oracle_edge(world.truth, "ALFA", when, 10 * NS_PER_S), moves[1] - moves[0], 1)[0]
    assert 0.8 < slope < 1.2, "and the mid does make it"


def test_nothing_is_predictable_in_the_null_world(null_worlds: Worlds) -> None:
    session, world = null_worlds[0]
    when = np.arange(session.open_ns, session.close_ns, 60 * NS_PER_S)
    for symbol in world.ticks:
        assert (oracle_edge(world.truth, symbol, when, 10 * NS_PER_S) == 0.0).all()
    assert world.truth.episodes.height == 0
    assert world.truth.graph.height == 0
    assert (world.truth.mood["mood"] == 0.0).all()


@pytest.mark.parametrize("beyond", [0.3, 0.8, 1.3])
def test_a_taker_who_sees_the_efficient_price_loses_in_the_null_world(null_worlds: Worlds, beyond: float) -> None:
    net: list[float] = []
    for session, world in null_worlds:
        for symbol in world.ticks:
            ts, best = quotes(world.ticks[symbol])
            when = np.arange(session.open_ns + 60 * NS_PER_S, session.close_ns - 60 * NS_PER_S, NS_PER_S)
            now = quotes_at(ts, best, when)
            away = efficient_price(world.truth, symbol, when) - 0.5 * (now[:, 0] + now[:, 2])
            chosen = np.abs(away) > beyond
            side = np.sign(away[chosen])
            enter = quotes_at(ts, best, when[chosen] + 5_100_000)
            leave = quotes_at(ts, best, when[chosen] + 10 * NS_PER_S)
            gross = np.where(side > 0, leave[:, 0] - enter[:, 2], enter[:, 0] - leave[:, 2])
            net.extend(gross - 6e-5 * enter[:, 0])
    assert len(net) == 0 or np.mean(net) + 2.3 * np.std(net) / np.sqrt(len(net)) < 0.0


def test_the_oracle_nets_the_strength_in_worlds_of_an_hour() -> None:
    for strength in (-0.5, 0.0, 1.0):
        settings = make_settings(1, events_per_session=20_000, signal=strength)
        sessions = [hour(s) for s in settings.market_calendar().first_sessions(settings.start_date, 12)]
        net = net_spreads(oracle_profit(settings, sessions))
        assert len(net) > 300
        assert abs(net.mean() - strength) < 0.05 + 3.0 * net.std() / np.sqrt(len(net))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_strength_map_is_what_the_oracle_measures() -> None:
    settings = make_settings(5)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 8)
    for strength in (0.0, 1.0, 2.0):
        simulator = settings.simulator.model_copy(update={"world": "market", "signal": strength})
        trips = oracle_profit(settings.model_copy(update={"simulator": simulator}), sessions)
        for symbol, line in zip(SYMBOLS, STRENGTH_MAP, strict=True):
            own = trips.filter(pl.col("symbol") == symbol)
            assert own["spread_units"].median() == line.median_spread_units
            more = own["gross_units"].to_numpy() - (line.capture * own["move_units"].to_numpy() - line.cost_units)
            error = more.std() / np.sqrt(len(more))
            assert error < 0.08, "some 1,600 round trips"
            assert abs(more.mean()) < 0.05 + 3.5 * error, (symbol, strength, more.mean(), error)


def test_the_map_is_measured_by_a_line_through_all_round_trips() -> None:
    settings = make_settings(1)
    sessions = settings.market_calendar().first_sessions(settings.start_date, 2)
    found = measure_strength_map(settings, sessions, (0.0, 2.0))["ALFA"]
    assert found.median_spread_units == STRENGTH_MAP[0].median_spread_units
    assert found.capture == pytest.approx(STRENGTH_MAP[0].capture, abs=0.1)


def test_a_stronger_signal_is_a_larger_move_paid_after_fees() -> None:
    item = make_settings(1).instruments[0]
    moves = [informed_move_units(item, s) for s in (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0)]
    assert (np.diff(moves) > 0).all()
    free = item.model_copy(update={"fees": item.fees.model_copy(update={"taker_ppm": 0})})
    assert informed_move_units(item, 1.0) - informed_move_units(free, 1.0) == pytest.approx(0.6, abs=0.02)


def test_a_leaders_orders_draw_the_followers_after_them() -> None:
    def excess(world: SimulatedSession) -> float:
        leader, follower = aggressors(world, "ALFA"), aggressors(world, "BRAVO")
        count = 0
        for sign in (-1, 1):
            led = follower.filter(pl.col("sign") == sign)["ts_event"].to_numpy()
            when = leader.filter(pl.col("sign") == sign)["ts_event"].to_numpy()
            for lag, weight in ((0, 1), (-NS_PER_S, -1)):
                first = when + lag
                count += weight * int(np.sum(np.searchsorted(led, first + NS_PER_S) - np.searchsorted(led, first)))
        return count / leader.height

    market = np.mean([excess(world) for _, world in simulate_many(make_settings(2), 3)])
    null = np.mean([excess(world) for _, world in simulate_many(make_settings(2, world="n1"), 3)])
    assert market > 0.01
    assert abs(null) < 0.01


def test_the_tape_of_n2_is_the_markets_and_only_its_slow_data_differ() -> None:
    settings = make_settings(1, events_per_session=5_000)
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]
    market = simulate_session(settings, session, 0)
    other = simulate_session(make_settings(1, events_per_session=5_000, world="n2"), session, 0)
    assert market.ticks["ALFA"].equals(other.ticks["ALFA"])
    assert not market.posts.equals(other.posts)
    assert market.truth.mood["mood"].equals(market.truth.mood["slow_mood"])
    assert not other.truth.mood["mood"].equals(other.truth.mood["slow_mood"])
