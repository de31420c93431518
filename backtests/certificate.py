"""Certificates: what the null world costs even those who know everything, and what an oracle earns where an edge was planted.

*The null certificate.* A world is a null world when nothing pays in it after costs, not when nothing can be forecast. Two
families are run through the real engine on many sessions of N1: a taker that sees the efficient price, which no model does,
over a grid of entry thresholds; and touch makers over a grid of rules, under the queue model that flatters them less and the
one that flatters them more. A taker's edge is its net profit a lot; a maker's is what a filled lot is worth at the mid a
minute later, less its price and fee, because the luck of the inventory it holds meanwhile says nothing about the edge and
hides it for years. The world passes when the upper 99 % bound of every one's edge is at most zero, or when what it could earn at
that bound is less than one median spread an instrument and session: a taker who knows the efficient price and waits until it is
more than a whole round trip away picks, by construction, the few moments that pay, and the question is whether they matter.

*The strength.* The oracle of a planted world trades each informed episode through the engine; its net profit per round trip in
median spreads is what the world's strength states.
"""

import ast
import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from backtests.replay import BacktestResult, run_backtest
from marketdata.clock import NS_PER_MINUTE, NS_PER_S, Session
from marketdata.events import EventArray, merge_events
from marketdata.settings import Settings
from marketdata.simulator.oracle import median_spread_units, oracle_round_trips, quotes, quotes_at
from marketdata.simulator.session import SimulatedSession, simulate_session
from marketdata.simulator.truth import MarketTruth, efficient_price
from marketdata.sources import build_source
from models.evidence import plain
from models.forecast import FORECAST_DTYPE, ForecastArray, quantise
from trading.config import last_entry_ns
from trading.journal import FILL
from trading.strategies import Strategy, round_trip_cost, taker, touch_maker

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

FOLDER: Final = Path(__file__).resolve().parent / "certificates"
IMMATERIAL_SPREADS: Final = 1.0
"""Median spreads an instrument and session that are nothing."""
MARKOUT_NS: Final = NS_PER_MINUTE
NO_MARKET: Final = ("__init__", "calibration", "oracle", "slow", "truth")
"""Modules of the simulator that the null market's ticks do not come from."""
BLOCK_NS: Final = 30 * NS_PER_MINUTE
UPPER_99: Final = 2.3263478740408408
"""Standard normal quantile of 0.99."""
DECISION_EVERY_NS: Final = 2 * NS_PER_S
TAKER_THRESHOLDS: Final = (0.25, 0.5, 0.75, 1.0)
"""Share of the round-trip cost that the oracle's edge must exceed before it trades."""
MAKER_RULES: Final = ((0.0, 0.0), (0.4, 0.2), (0.5, 0.3), (0.6, 0.4))
"""Share of the touch's lots on its own side at which a maker joins, and below which it leaves."""
MAKER_LIMITS: Final = (1, 3)
"""Lots of inventory."""
MAKER_QUEUES: Final = ("risk_averse", "probabilistic")


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """One member of a grid: net edge a filled lot, in quote currency and in median spreads, and the net profit it ended with.

    ``upper_99`` bounds the mean from above, from half-hour blocks (a ratio of sums; blocks taken as independent);
    ``upper_99_session_spreads`` is what that would earn in an instrument and session, in median spreads.
    """

    name: str
    fills: int
    net_profit: float
    net_per_lot: float
    net_per_lot_spreads: float
    standard_error: float
    upper_99: float
    upper_99_session_spreads: float

    @property
    def pays(self) -> bool:
        """Whether it cannot be excluded that it earns something that matters."""
        return self.upper_99 > 0.0 and self.upper_99_session_spreads > IMMATERIAL_SPREADS


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was run, on what, and what came out; ``valid`` when nothing pays."""

    world: str
    sessions: int
    instruments: tuple[str, ...]
    events: int
    taker_ppm: tuple[int, ...]
    maker_ppm: tuple[int, ...]
    latency: dict[str, int]
    simulator_sha256: str
    settings_sha256: str
    rows: tuple[EdgeRow, ...]

    @property
    def valid(self) -> bool:
        """Whether no member of the grid pays."""
        return not any(row.pays for row in self.rows)

    @property
    def best(self) -> EdgeRow:
        """The member that comes nearest to paying."""
        return max(self.rows, key=lambda row: row.upper_99 if row.fills else -np.inf)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**{str(k): plain(v) for k, v in asdict(self).items()}, "valid": self.valid, "best": self.best.name}


def certify_n1(
    settings: Settings,
    *,
    sessions: int = 10,
    progress: Callable[[str], None] | None = None,
) -> Certificate:
    """Run the grids through the engine on sessions of the null world.

    Parameters
    ----------
    settings : Settings
        A simulated root; its world is set to N1, its fees, latencies and instruments are what is certified.
    sessions : int
        Whole sessions; ten times what one night tests on one session.
    """
    world = null_settings(settings)
    calendar = world.market_calendar().first_sessions(world.start_date, sessions)
    names = [f"oracle taker above {threshold:g} of the cost" for threshold in TAKER_THRESHOLDS]
    makers = [
        (f"touch maker join {join:g} leave {stay:g} limit {limit} {queue}", join, stay, limit, queue)
        for join, stay in MAKER_RULES
        for limit in MAKER_LIMITS
        for queue in MAKER_QUEUES
    ]
    blocks: dict[str, list[Float64]] = {name: [] for name in (*names, *(maker[0] for maker in makers))}
    spreads, events_seen = [], 0
    profits = dict.fromkeys(blocks, 0.0)
    for index, session in enumerate(calendar):
        made = simulate_session(world, session, index)
        events = session_events(world, session, made)
        events_seen += len(events)
        mids = {item.instrument_id: quotes(made.ticks[item.symbol]) for item in world.instruments}
        spreads.append(_median_spread_money(world, session, mids))
        for name, threshold in zip(names, TAKER_THRESHOLDS, strict=True):
            forecasts = efficient_price_forecasts(world, session, made, threshold)
            result = run_backtest(world, session, events, forecasts)
            blocks[name].append(_profit_blocks(result))
            profits[name] += result.net
        none = np.zeros(0, FORECAST_DTYPE)
        for name, join, stay, limit, queue in makers:
            strategy = _maker(world, session, join, stay, limit)
            result = run_backtest(world, session, events, none, strategy=strategy, queue_model=queue)
            blocks[name].append(_markout_blocks(result, mids))
            profits[name] += result.net
        if progress is not None:
            progress(f"session {index + 1} of {sessions}")
    spread = float(np.mean(spreads))
    days = sessions * len(world.instruments)
    rows = tuple(_edge_row(name, np.concatenate(parts), profits[name], spread, days) for name, parts in blocks.items())
    return Certificate(
        world="n1",
        sessions=sessions,
        instruments=tuple(item.symbol for item in world.instruments),
        events=events_seen,
        taker_ppm=tuple(item.fees.taker_ppm for item in world.instruments),
        maker_ppm=tuple(item.fees.maker_ppm for item in world.instruments),
        latency=world.latency.model_dump(),
        simulator_sha256=simulator_sha256(),
        settings_sha256=hashlib.sha256(world.simulator.model_dump_json().encode()).hexdigest(),
        rows=rows,
    )


def null_settings(settings: Settings) -> Settings:
    """Return the settings of the null world with limits that never bind: what is measured is the edge, not the limits."""
    simulator = settings.simulator.model_copy(update={"world": "n1", "signal": 0.0})
    risk = settings.risk.model_copy(
        update={"daily_loss": 1e9, "max_orders_per_s": 1_000, "drawdown_steps": (0.9, 0.95, 0.99)}
    )
    strategy = settings.strategy.model_copy(update={"capital": 1e9, "edge_margin": 0.0, "order_lots": 1})
    return settings.model_copy(update={"simulator": simulator, "risk": risk, "strategy": strategy})


def session_events(settings: Settings, session: Session, made: SimulatedSession) -> EventArray:
    """Return a simulated session's events of all instruments, as received."""
    source = build_source(settings)
    parts = [source.events(made.ticks[item.symbol], session.date, item.symbol) for item in settings.instruments]
    return merge_events(parts)


def efficient_price_forecasts(
    settings: Settings, session: Session, made: SimulatedSession, threshold: float
) -> ForecastArray:
    """Return what a taker forecasts who sees the efficient price.

    It looks every two seconds and trades where the mid is further from it than ``threshold`` round-trip costs. The edge is
    stated as three costs, so that the strategy's own threshold and size let every such trade pass.
    """
    when = np.arange(
        session.open_ns + NS_PER_MINUTE, last_entry_ns(settings, session), DECISION_EVERY_NS, dtype=np.int64
    )
    parts = []
    for item in settings.instruments:
        ts, best = quotes(made.ticks[item.symbol])
        now = quotes_at(ts, best, when)
        mid = 0.5 * (now[:, 0] + now[:, 2])
        away = efficient_price(made.truth, item.symbol, when) - mid
        cost = round_trip_cost_of(now, item.fees.taker_ppm)
        trade = np.abs(away) > threshold * cost
        parts.append(_certain(when, item.instrument_id, np.where(trade, 3.0 * np.sign(away) * cost, 0.0)))
    return _by_time(parts)


def round_trip_cost_of(best: Int64, taker_ppm: int) -> Float64:
    """Return the round-trip cost at quotes in the form of ``fold_best``, price units, shape (n,)."""
    return np.array([round_trip_cost(int(row[0]), int(row[2]), taker_ppm) for row in best])


def episode_forecasts(settings: Settings, truth: MarketTruth, mids: "Quotes") -> ForecastArray:
    """Return what the planted world's oracle forecasts: a move at each of its decisions, none when it wants to be out again."""
    latency = settings.latency
    parts = []
    for item in settings.instruments:
        ts, best = mids[item.instrument_id]
        spread = median_spread_units(ts, best, int(ts[-1]))
        trips = oracle_round_trips(ts, best, truth.episodes, item, spread_units=spread, latency_ns=latency.to_venue_ns)
        edge = trips["direction"].to_numpy() * 1_000.0
        parts.append(_certain(trips["decision_ns"].to_numpy(), item.instrument_id, edge))
        parts.append(_certain(trips["closing_ns"].to_numpy(), item.instrument_id, np.zeros(len(edge))))
    made = _by_time(parts)
    made["due_ns"] += latency.inference_ns
    return made


def _certain(when: Int64, instrument_id: int, edge: Float64) -> ForecastArray:
    out = np.zeros(len(when), FORECAST_DTYPE)
    out["ts_recv"] = out["due_ns"] = when
    out["instrument_id"] = instrument_id
    out["edge_units"] = quantise(edge)
    up, down = np.where(edge > 0, 0.98, 0.01), np.where(edge < 0, 0.98, 0.01)
    out["p_up"], out["p_down"] = quantise(up), quantise(down)
    out["p_flat"] = quantise(1.0 - up - down)
    return out


def _by_time(parts: list[ForecastArray]) -> ForecastArray:
    joined = np.concatenate(parts)
    ordered: ForecastArray = joined[np.argsort(joined["due_ns"], kind="stable")]
    return ordered


def _maker(settings: Settings, session: Session, join: float, stay: float, limit: int) -> Strategy:
    return touch_maker(
        lots=1,
        max_position=limit,
        last_entry_ns=last_entry_ns(settings, session),
        join_share=join,
        stay_share=stay,
    )


Quotes = Mapping[int, tuple[Int64, Int64]]
"""Times and best quotes of each instrument, by id, as ``marketdata.simulator.oracle.quotes`` gives them."""


def _median_spread_money(settings: Settings, session: Session, mids: Quotes) -> float:
    """Return the mean over instruments of the median spread of one lot, in quote currency."""
    found = []
    for item in settings.instruments:
        ts, best = mids[item.instrument_id]
        found.append(median_spread_units(ts, best, session.close_ns) * item.unit_nanos / 1e9)
    return float(np.mean(found))


def _profit_blocks(result: BacktestResult) -> Float64:
    """Return net profit and lots filled by half hours, shape (blocks, 2)."""
    session = result.config.session
    count = -(-(session.close_ns - session.open_ns) // BLOCK_NS)
    fills = result.journal[result.journal["kind"] == FILL]
    place = np.minimum((result.clock_ns - 1 - session.open_ns) // BLOCK_NS, count - 1)
    filled = np.clip((fills["ts_ns"] - session.open_ns) // BLOCK_NS, 0, count - 1)
    money = np.bincount(place, weights=result.pnl, minlength=count)
    lots = np.bincount(filled, weights=fills["size_lots"].astype(np.float64), minlength=count)
    return np.stack([money, lots], axis=1)


def _markout_blocks(result: BacktestResult, mids: Quotes) -> Float64:
    """Return what maker fills were worth a minute later, less price and fee, and their lots, by half hours, shape (blocks, 2)."""
    session = result.config.session
    count = -(-(session.close_ns - session.open_ns) // BLOCK_NS)
    out = np.zeros((count, 2))
    fills = result.journal[(result.journal["kind"] == FILL) & (result.journal["flag"] == 1)]
    for item in result.config.instruments:
        own = fills[fills["instrument_id"] == item.instrument_id]
        ts, best = mids[item.instrument_id]
        later = quotes_at(ts, best, own["venue_ns"] + MARKOUT_NS)
        mid = 0.5 * (later[:, 0] + later[:, 2])
        lots = own["size_lots"].astype(np.float64)
        worth = own["side"] * (mid - own["price_units"]) * lots * item.unit_nanos / 1e9 - own["fee_nanos"] / 1e9
        place = np.clip((own["venue_ns"] - session.open_ns) // BLOCK_NS, 0, count - 1)
        out[:, 0] += np.bincount(place, weights=worth, minlength=count)
        out[:, 1] += np.bincount(place, weights=lots, minlength=count)
    return out


def _edge_row(name: str, blocks: Float64, profit: float, spread: float, days: int) -> EdgeRow:
    net, lots = float(blocks[:, 0].sum()), float(blocks[:, 1].sum())
    if lots == 0:
        return EdgeRow(name, 0, profit, 0.0, 0.0, 0.0, 0.0, 0.0)
    ratio = net / lots
    n = len(blocks)
    error = float(np.sqrt(n / max(n - 1, 1) * ((blocks[:, 0] - ratio * blocks[:, 1]) ** 2).sum())) / lots
    upper = ratio + UPPER_99 * error
    return EdgeRow(name, int(lots), profit, ratio, ratio / spread, error, upper, upper * lots / days / spread)


def oracle_strength(
    settings: Settings,
    sessions: Sequence[Session] | int = 2,
    *,
    latency_scale: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> dict[str, dict[str, float]]:
    """Return what the planted world's oracle earns through the engine, by symbol and for all (``""``).

    Returns
    -------
    dict of symbol to dict
        ``round_trips``, ``net_spreads`` (mean net profit of a round trip in median spreads), ``standard_error``.
    """
    calendar = settings.market_calendar()
    chosen = calendar.first_sessions(settings.start_date, sessions) if isinstance(sessions, int) else list(sessions)
    free = null_settings(settings).model_copy(update={"simulator": settings.simulator})
    earned: dict[str, list[float]] = {item.symbol: [] for item in settings.instruments}
    symbol_of = {item.instrument_id: item for item in settings.instruments}
    for index, session in enumerate(chosen):
        made = simulate_session(free, session, index)
        mids = {item.instrument_id: quotes(made.ticks[item.symbol]) for item in settings.instruments}
        spread = {
            item.symbol: median_spread_units(*mids[item.instrument_id], session.close_ns) * item.unit_nanos
            for item in settings.instruments
        }
        events = session_events(free, session, made)
        forecasts = episode_forecasts(free, made.truth, mids)
        strategy = taker(
            horizon_ns=1,
            order_lots=1,
            last_entry_ns=session.close_ns,
            margin=0.0,
            fraction=settings.strategy.kelly_fraction,
            capital=free.strategy.capital,
        )
        result = run_backtest(free, session, events, forecasts, latency_scale=latency_scale, strategy=strategy)
        for row in result.round_trips().iter_rows(named=True):
            symbol = symbol_of[row["instrument_id"]].symbol
            earned[symbol].append(row["net_nanos"] / spread[symbol] / row["size_lots"])
        if progress is not None:
            progress(f"{session.date}: {result.round_trips().height} round trips")
    everything = {**earned, "": [value for values in earned.values() for value in values]}
    return {symbol: _mean_of(np.array(values)) for symbol, values in everything.items()}


def _mean_of(values: Float64) -> dict[str, float]:
    n = len(values)
    error = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return {"round_trips": n, "net_spreads": float(values.mean()) if n else float("nan"), "standard_error": error}


def simulator_sha256() -> str:
    """Return a hash of the code that makes the market, without comments and docstrings: a certificate is of one market."""
    import marketdata.simulator

    folder = Path(str(marketdata.simulator.__file__)).parent
    digest = hashlib.sha256()
    own = [path for path in sorted(folder.glob("*.py")) if path.stem not in NO_MARKET]
    for path in (folder.parent / "matching.py", *own):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                node.body = [item for item in node.body if not _is_text(item)]
        digest.update(ast.dump(tree).encode())
    return digest.hexdigest()


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def save_certificate(certificate: Certificate, path: Path | None = None) -> Path:
    """Write a certificate as JSON, whole or not at all; return where."""
    target = path or FOLDER / f"{certificate.world}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    temporary.write_text(json.dumps(certificate.to_dict(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, target)
    return target


def load_certificate(path: Path | None = None) -> Certificate:
    """Return a stored certificate; the one of N1 by default.

    Raises
    ------
    FileNotFoundError
        If it was never made.
    """
    values = json.loads((path or FOLDER / "n1.json").read_text(encoding="utf-8"))
    values.pop("valid")
    values.pop("best")
    values["rows"] = tuple(EdgeRow(**row) for row in values["rows"])
    for name in ("instruments", "taker_ppm", "maker_ppm"):
        values[name] = tuple(values[name])
    return Certificate(**values)


def main() -> int:
    """Make the certificate of N1 and the measured strength of the demo's world; ``python -m backtests.certificate``."""
    import logging

    from marketdata.presets import preset

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log = logging.getLogger(__name__)
    settings = preset("simulated", None)
    certificate = certify_n1(settings, progress=log.info)
    for row in certificate.rows:
        log.info(
            "%-60s %8d lots %+9.4f spreads a lot, upper %+9.4f",
            row.name,
            row.fills,
            row.net_per_lot_spreads,
            row.upper_99,
        )
    log.info("%s: %s", "valid" if certificate.valid else "NOT VALID", save_certificate(certificate))
    return 0 if certificate.valid else 1


if __name__ == "__main__":
    raise SystemExit(main())
