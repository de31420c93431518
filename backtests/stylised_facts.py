"""The simulated market beside recorded ones: one table of stylised facts and its pictures (R22).

Depth, order signs and queues are compared with AMZN and AAPL (NASDAQ, 2012-06-21) and 600519 (Shanghai, 2023-02-01); returns,
volatility and spread with EURUSD quotes too, which have neither sizes nor trades. Everything that is kept or drawn is an
aggregate over a session.

    python -m backtests.stylised_facts DATA_FOLDER [PICTURE_FOLDER]
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_DAY, to_ns
from marketdata.events import F_SNAPSHOT, EventArray
from marketdata.instruments import BookKind, Instrument
from marketdata.settings import Settings
from marketdata.stylised_facts import (
    DEPTH_LEVELS,
    SIGN_LAGS,
    SIGNATURE_S,
    Span,
    aggressors,
    autocorrelation,
    best_quotes,
    cancel_distances,
    coefficient_of_variation,
    depth_profile,
    intraday_shape,
    mean_spread_bps,
    mean_spread_ticks,
    order_to_trade,
    power_law_exponent,
    raw_kurtosis,
    returns_bps,
    signature,
    spread_distribution,
    waits_s,
)

Float64 = npt.NDArray[np.float64]

SIMULATED: Final = "simulated"
NULL: Final = "simulated n1"
SIMULATED_SESSIONS: Final = 3
VOLATILITY_LAGS: Final = 30
TAIL_AT: Final = np.linspace(0.0, 8.0, 33)
"""Standard deviations at which the tail of returns is read."""
WAIT_AT: Final = np.logspace(-6, 3, 37)
"""Seconds at which the tail of the times between aggressors is read."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The measures of one market, means over its sessions and instruments; NaN where the feed cannot say.

    Attributes
    ----------
    sessions, events, aggressors : float
        Sessions (of an instrument) measured; events and aggressors in each.
    spread_ticks, spread_bps, one_tick : float
        Mean spread over time; share of time at one tick.
    depth : float64 array, shape (DEPTH_LEVELS,)
        Lots by ticks behind the best price, relative to the best one's.
    sign_correlation : float64 array, shape (SIGN_LAGS,)
    sign_exponent : float
        γ of the sign correlation over lags 3 to 100.
    kurtosis_10s, kurtosis_60s : float
        Raw kurtosis of the mid's returns, of one session at a time.
    tail : float64 array
        Share of one-minute returns beyond ``TAIL_AT`` standard deviations of their session.
    return_correlation : float
        First autocorrelation of one-minute returns.
    volatility_correlation : float64 array, shape (VOLATILITY_LAGS,)
        Autocorrelation of absolute one-minute returns.
    volatility_bps : float
        Standard deviation of one-minute returns.
    signature : float64 array
        Variance of the mid per second at ``SIGNATURE_S``, over its mean from 10 s on.
    shape : float64 array, shape (13,)
        Events by half hour (of trading time) over their mean.
    wait_cv, trade_wait_cv : float
        Coefficient of variation of the times between events and between aggressors.
    trade_wait_tail : float64 array
        Share of the times between aggressors, over their mean, beyond ``WAIT_AT``.
    order_to_trade : float
        Order messages an aggressor.
    cancels : float64 array
        Share of deletions by ticks behind the best price.
    """

    sessions: float
    events: float
    aggressors: float
    spread_ticks: float
    spread_bps: float
    one_tick: float
    depth: Float64
    sign_correlation: Float64
    sign_exponent: float
    kurtosis_10s: float
    kurtosis_60s: float
    tail: Float64
    return_correlation: float
    volatility_correlation: Float64
    volatility_bps: float
    signature: Float64
    shape: Float64
    wait_cv: float
    trade_wait_cv: float
    trade_wait_tail: Float64
    order_to_trade: float
    cancels: Float64


@dataclass(frozen=True, slots=True)
class SessionTape:
    """The events of one session of one instrument; whether levels behind the best are in the feed, and orders and trades."""

    events: EventArray
    spans: list[Span]
    tick_units: int
    has_depth: bool = True
    has_orders: bool = True


def session_facts(tape: SessionTape) -> Facts:
    """Measure one session."""
    quotes = best_quotes(tape.events, tape.spans)
    trades = aggressors(tape.events, tape.spans)
    minute = returns_bps(quotes, tape.spans, 60.0)
    signs = autocorrelation(trades.sign.astype(np.float64), SIGN_LAGS)
    plot = signature(quotes, tape.spans)
    depth = depth_profile(tape.events, tape.spans, tape.tick_units) if tape.has_depth else np.full(DEPTH_LEVELS, np.nan)
    ts = tape.events["ts_event"]
    is_message = (tape.events["flags"] & F_SNAPSHOT) == 0
    waits = waits_s(trades.ts, tape.spans)
    return Facts(
        sessions=1.0,
        events=float(sum(((ts >= start) & (ts < end) & is_message).sum() for start, end in tape.spans)),
        aggressors=float(len(trades.ts)) if len(trades.ts) else float("nan"),
        spread_ticks=mean_spread_ticks(quotes, tape.spans, tape.tick_units),
        spread_bps=mean_spread_bps(quotes, tape.spans),
        one_tick=float(spread_distribution(quotes, tape.spans, tape.tick_units)[0]),
        depth=depth / depth[0],
        sign_correlation=signs,
        sign_exponent=power_law_exponent(signs),
        kurtosis_10s=raw_kurtosis(returns_bps(quotes, tape.spans, 10.0)),
        kurtosis_60s=raw_kurtosis(minute),
        tail=np.array([np.mean(np.abs(minute) > x * minute.std()) for x in TAIL_AT]),
        return_correlation=float(autocorrelation(minute, 1)[0]),
        volatility_correlation=autocorrelation(np.abs(minute), VOLATILITY_LAGS),
        volatility_bps=float(minute.std()),
        signature=plot / np.nanmean(plot[SIGNATURE_S.index(10) :]),
        shape=intraday_shape(ts[is_message], tape.spans) if tape.has_orders else np.full(13, np.nan),
        wait_cv=coefficient_of_variation(waits_s(np.unique(ts), tape.spans)) if tape.has_orders else float("nan"),
        trade_wait_cv=coefficient_of_variation(waits),
        trade_wait_tail=np.array([np.mean(waits / waits.mean() > x) if len(waits) else np.nan for x in WAIT_AT]),
        order_to_trade=order_to_trade(tape.events, tape.spans) if tape.has_orders else float("nan"),
        cancels=cancel_distances(tape.events, tape.spans, tape.tick_units)
        if tape.has_depth and tape.has_orders
        else np.full(20, np.nan),
    )


def market_facts(tapes: Iterator[SessionTape]) -> Facts:
    """Measure sessions one by one, and return the means of what is known of them.

    Raises
    ------
    ValueError
        If there is no session.
    """
    found = [session_facts(tape) for tape in tapes]
    if not found:
        raise ValueError("there is no session to measure")
    means: dict[str, Any] = {}
    for field in fields(Facts):
        values = np.array([getattr(facts, field.name) for facts in found], np.float64)
        known = (~np.isnan(values)).sum(axis=0)
        mean = np.nansum(values, axis=0) / np.where(known > 0, known, np.nan)
        means[field.name] = mean if mean.ndim else float(mean)
    means["sessions"] = float(len(found))
    return Facts(**means)


# -- where the tapes come from ---------------------------------------------------------------------------------------------
def simulated_tapes(settings: Settings, sessions: int) -> Iterator[SessionTape]:
    """Yield the tapes of the simulated market, session by session and instrument by instrument."""
    from marketdata.simulator.oracle import as_events
    from marketdata.simulator.session import simulate_session

    for index, session in enumerate(settings.market_calendar().first_sessions(settings.start_date, sessions)):
        world = simulate_session(settings, session, index)
        for item in settings.instruments:
            yield SessionTape(
                as_events(world.ticks[item.symbol]), [Span(session.open_ns, session.close_ns)], item.tick_units
            )


def _at(day: date, zone: str, *times: tuple[int, int]) -> list[int]:
    return [to_ns(datetime.combine(day, time(h, m), ZoneInfo(zone))) for h, m in times]


def lobster_tape(data: Path, symbol: str) -> SessionTape:
    """Return the LOBSTER day of AMZN (five levels) or AAPL (best level)."""
    from marketdata.codecs import lobster

    folder = data / "market" / "lobster"
    file = next(f for f in lobster.find_files([folder]) if f.symbol == symbol)
    events = lobster.parse(lobster.read_raw(file), file.day, 0, str(file.messages))
    start, end = _at(file.day, "America/New_York", (9, 30), (16, 0))
    return SessionTape(events, [Span(start, end)], 100, has_depth=file.levels > 1)


def apple_hour(data: Path) -> SessionTape:
    """Return the first hour of AAPL with every order within fifty levels: what its full day cannot say of depth and cancels."""
    from marketdata.codecs.lobster import book_columns
    from marketdata.codecs.lobster_orders import parse_orders, read_messages
    from marketdata.codecs.tables import INT, read_table

    folder, day = data / "market" / "lobster", date(2012, 6, 21)
    books = read_table(
        folder / "AAPL_2012-06-21_orderbook_50.head672.csv.gz", dict.fromkeys(book_columns(50), INT), header=False
    )
    path = folder / "AAPL_2012-06-21_34200000_37800000_message_50.csv.gz"
    first = np.array(books.row(0), np.int64)
    events = parse_orders(read_messages(path), day, 0, str(path), first)
    start, end = _at(day, "America/New_York", (9, 30), (10, 30))
    return SessionTape(events, [Span(start, end)], 100)


def shanghai_tape(data: Path) -> SessionTape:
    """Return the continuous trading of 600519 on 2023-02-01, order by order."""
    from marketdata.codecs import shanghai

    item = Instrument(symbol="600519", instrument_id=0, venue="SSE", unit_nanos=1, price_decimals=0.01)
    folder = data / "market" / "sse_l2_orders"
    for _, day, rows, origin in shanghai.iter_days(folder, ["600519"]):
        noon = _at(day, "Asia/Shanghai", (9, 30), (11, 30), (13, 0), (14, 57))
        return SessionTape(shanghai.parse(rows, day, item, origin), [Span(*noon[:2]), Span(*noon[2:])], 1)
    raise ValueError(f"{folder}: 600519 is not there")


def euro_tapes(data: Path) -> Iterator[SessionTape]:
    """Yield the five full days of EURUSD quotes of Oanda, 2014-05-05 to 2014-05-09, each of 24 hours."""
    from marketdata.codecs.lean_archives import read_lean

    item = Instrument(
        symbol="EURUSD",
        instrument_id=0,
        venue="OANDA",
        unit_nanos=1,
        price_decimals=0.00001,
        book_kind=BookKind.DEALER,
    )
    folder = data / "market" / "lean_fx_cfd" / "forex" / "oanda" / "tick" / "eurusd"
    for day in range(5, 10):
        midnight = to_ns(datetime(2014, 5, day, tzinfo=ZoneInfo("UTC")))
        for decoded in read_lean(folder / f"201405{day:02d}_quote.zip", {"EURUSD": item}):
            yield SessionTape(
                decoded.events, [Span(midnight, midnight + NS_PER_DAY)], 1, has_depth=False, has_orders=False
            )


def all_facts(
    settings: Settings,
    data: Path | None,
    *,
    sessions: int = SIMULATED_SESSIONS,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Facts]:
    """Measure the simulated market, its null world, and the recorded ones where the data folder is given, by name.

    Parameters
    ----------
    settings : Settings
        A simulated root.
    data : Path or None
        The folder of recorded data, with ``market`` below.
    """
    say = progress or (lambda stage, done, total: None)
    found: dict[str, Facts] = {}
    null = settings.model_copy(update={"simulator": settings.simulator.model_copy(update={"world": "n1"})})
    jobs: dict[str, Callable[[], Facts]] = {
        SIMULATED: lambda: market_facts(simulated_tapes(settings, sessions)),
        NULL: lambda: market_facts(simulated_tapes(null, sessions)),
    }
    if data is not None:
        folder = data
        jobs["AMZN"] = lambda: market_facts(iter([lobster_tape(folder, "AMZN")]))
        jobs["AAPL"] = lambda: _apple(folder)
        jobs["600519"] = lambda: market_facts(iter([shanghai_tape(folder)]))
        jobs["EURUSD"] = lambda: market_facts(euro_tapes(folder))
    for k, (name, run) in enumerate(jobs.items()):
        say(f"measure {name}", k, len(jobs))
        found[name] = run()
    return found


def _apple(data: Path) -> Facts:
    """Return the facts of AAPL's day, with depth, cancels and order messages of its first hour."""
    from dataclasses import replace

    day, hour = market_facts(iter([lobster_tape(data, "AAPL")])), market_facts(iter([apple_hour(data)]))
    return replace(day, depth=hour.depth, cancels=hour.cancels, order_to_trade=hour.order_to_trade)


# -- the table -------------------------------------------------------------------------------------------------------------
def facts_table(facts: dict[str, Facts]) -> pl.DataFrame:
    """Return one row a fact and a column a market, as text; "–" where the feed cannot say."""
    rows: list[tuple[str, Callable[[Facts], float], str]] = [
        ("sessions", lambda f: f.sessions, ",.0f"),
        ("events a session", lambda f: f.events, ",.0f"),
        ("aggressors a session", lambda f: f.aggressors, ",.0f"),
        ("order messages an aggressor", lambda f: f.order_to_trade, ".1f"),
        ("mean spread, ticks", lambda f: f.spread_ticks, ".2f"),
        ("mean spread, bps", lambda f: f.spread_bps, ".2f"),
        ("time at one tick, %", lambda f: 100 * f.one_tick, ".1f"),
        ("lots 1 tick behind, of the best", lambda f: f.depth[1], ".2f"),
        ("lots 4 ticks behind, of the best", lambda f: f.depth[4], ".2f"),
        ("lots 9 ticks behind, of the best", lambda f: f.depth[9], ".2f"),
        ("sign correlation, lag 1", lambda f: f.sign_correlation[0], ".3f"),
        ("sign correlation, lag 10", lambda f: f.sign_correlation[9], ".3f"),
        ("sign correlation, lag 100", lambda f: f.sign_correlation[99], ".3f"),
        ("sign memory γ, lags 3-100", lambda f: f.sign_exponent, ".2f"),
        ("volatility a minute, bps", lambda f: f.volatility_bps, ".2f"),
        ("kurtosis, 10 s", lambda f: f.kurtosis_10s, ".1f"),
        ("kurtosis, 60 s", lambda f: f.kurtosis_60s, ".1f"),
        ("return correlation, 60 s, lag 1", lambda f: f.return_correlation, "+.3f"),
        ("volatility correlation, lag 1", lambda f: f.volatility_correlation[0], "+.3f"),
        ("volatility correlation, lags 2-10", lambda f: float(np.mean(f.volatility_correlation[1:10])), "+.3f"),
        ("signature 1 s", lambda f: f.signature[SIGNATURE_S.index(1)], ".2f"),
        ("signature 10 s", lambda f: f.signature[SIGNATURE_S.index(10)], ".2f"),
        ("signature 300 s", lambda f: f.signature[SIGNATURE_S.index(300)], ".2f"),
        ("signature 1800 s", lambda f: f.signature[SIGNATURE_S.index(1_800)], ".2f"),
        ("first half hour, of the mean", lambda f: f.shape[0], ".2f"),
        ("middle, of the mean", lambda f: float(np.mean(f.shape[5:8])), ".2f"),
        ("last half hour, of the mean", lambda f: f.shape[-1], ".2f"),
        ("variation of event times (Poisson 1)", lambda f: f.wait_cv, ".2f"),
        ("variation of aggressor times", lambda f: f.trade_wait_cv, ".2f"),
        ("cancels at the best, %", lambda f: 100 * f.cancels[0], ".1f"),
        ("cancels 1-4 ticks behind, %", lambda f: 100 * float(np.sum(f.cancels[1:5])), ".1f"),
        ("cancels further behind, %", lambda f: 100 * float(np.sum(f.cancels[5:])), ".1f"),
    ]

    def shown(value: float, form: str) -> str:
        return "–" if np.isnan(value) else f"{value:{form}}"

    columns = {"fact": [name for name, _, _ in rows]}
    for market, own in facts.items():
        columns[market] = [shown(float(read(own)), form) for _, read, form in rows]
    return pl.DataFrame(columns)


def as_markdown(table: pl.DataFrame) -> str:
    """Return a table of text as Markdown."""
    lines = ["| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in table.iter_rows()]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table and draw: see the module."""
    import sys

    from marketdata.presets import preset

    if len(sys.argv) < 2:
        sys.exit("usage: python -m backtests.stylised_facts DATA_FOLDER [PICTURE_FOLDER]")
    settings = preset("simulated", None, sessions=SIMULATED_SESSIONS)
    say = lambda stage, done, total: print(f"{stage} ({done + 1}/{total})", file=sys.stderr, flush=True)  # noqa: E731  a script
    facts = all_facts(settings, Path(sys.argv[1]), progress=say)
    print(as_markdown(facts_table(facts)))
    if len(sys.argv) > 2:
        from backtests.stylised_pictures import draw_facts

        draw_facts(facts, Path(sys.argv[2]))


if __name__ == "__main__":
    main()
