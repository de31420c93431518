"""Make the certificate of the null market: choose the fees on one run, measure with them on another (docs/decisions/0061).

``python -m backtests.certify choose`` prints what every fee of the grid would have cost the members, on the seed for the choice;
``python -m backtests.certify measure`` runs all members at the fees of the preset on the seed for the measurement and
writes ``backtests/certificates/n1.json``. With ``--keep FOLDER`` each session is written down there as it is done, and a
measurement that was stopped goes on where it was.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from backtests.certificate import (
    LEAST_SESSIONS,
    Certificate,
    EdgeRow,
    edge_row,
    save_certificate,
    simulator_sha256,
    tape_sha256,
)
from backtests.oracle_trades import (
    Quotes,
    efficient_price_forecasts,
    session_events,
    session_quotes,
    without_limits,
)
from backtests.replay import BacktestResult, run_backtest
from backtests.session_edges import SessionEdges, load_edges, part_path, save_edges
from backtests.workers import process_pool, worker_count
from marketdata.clock import NS_PER_MINUTE, Session
from marketdata.settings import Settings
from marketdata.simulator.oracle import median_spread_units, quotes_at
from marketdata.simulator.session import simulate_session
from models.forecast import FORECAST_DTYPE
from trading.config import last_entry_ns
from trading.journal import FILL
from trading.strategies import Strategy, touch_maker

Float64 = npt.NDArray[np.float64]

CHOICE_SEED: Final = 61_001
CHOICE_SESSIONS: Final = 40
CHOICE_MAKER_SESSIONS: Final = 10
"""Of them; makers lose so clearly that ten say as much."""
CERTIFICATE_SEED: Final = 61_003
CERTIFICATE_SESSIONS: Final = LEAST_SESSIONS
TAKER_PPM: Final = (30, 50, 65, 80, 100, 130, 170, 250, 400, 500)
MAKER_PPM: Final = (0, 10, 20, 50, 100, 200)
"""The fees that the choice is among, in ppm of the notional; what charges them stands in the decision."""
MARKOUT_NS: Final = NS_PER_MINUTE
BLOCK_NS: Final = 30 * NS_PER_MINUTE
TAKER_THRESHOLDS: Final = (0.25, 0.5, 0.75, 1.0)
"""Share of the round-trip cost that the oracle's edge must exceed before it trades."""
MAKER_RULES: Final = ((0.0, 0.0), (0.4, 0.2), (0.5, 0.3), (0.6, 0.4))
"""Share of the touch's lots on its own side at which a maker joins, and below which it leaves."""
MAKER_LIMITS: Final = (1, 3)
"""Lots of inventory."""
MAKER_QUEUES: Final = ("risk_averse", "probabilistic")


@dataclass(frozen=True, slots=True)
class MakerRule:
    """A touch maker of the grid."""

    join: float
    stay: float
    limit: int
    queue: str

    @property
    def name(self) -> str:
        """What the certificate calls it."""
        return f"touch maker join {self.join:g} leave {self.stay:g} limit {self.limit} {self.queue}"

    def strategy(self, settings: Settings, session: Session) -> Strategy:
        """Return the strategy of one lot."""
        return touch_maker(
            lots=1,
            max_position=self.limit,
            last_entry_ns=last_entry_ns(settings, session),
            join_share=self.join,
            stay_share=self.stay,
        )


MAKERS: Final = tuple(
    MakerRule(join, stay, limit, queue)
    for join, stay in MAKER_RULES
    for limit in MAKER_LIMITS
    for queue in MAKER_QUEUES
)


def taker_name(threshold: float) -> str:
    """Return what the certificate calls a taker."""
    return f"oracle taker above {threshold:g} of the cost"


def null_settings(settings: Settings, seed: int) -> Settings:
    """Return the settings of the null world with limits that never bind."""
    simulator = settings.simulator.model_copy(update={"world": "n1", "signal": 0.0, "seed": seed})
    return without_limits(settings).model_copy(update={"simulator": simulator})


def at_fees(settings: Settings, taker_ppm: int, maker_ppm: int) -> Settings:
    """Return the settings with the same fees for every instrument."""
    fees = {"taker_ppm": taker_ppm, "maker_ppm": maker_ppm}
    instruments = tuple(
        item.model_copy(update={"fees": item.fees.model_copy(update=fees)}) for item in settings.instruments
    )
    return settings.model_copy(update={"instruments": instruments})


def run_session(
    settings: Settings, session: Session, index: int, taker_ppm: Sequence[int], *, makers_too: bool = True
) -> SessionEdges:
    """Run every member on one session of the null world: takers at each of the fees, makers once.

    A maker's behaviour does not depend on its fee, so the fee is taken off afterwards.
    """
    made = simulate_session(settings, session, index)
    events = session_events(settings, session, made)
    mids = session_quotes(settings, made)
    takers, makers, profits = {}, {}, {}
    for ppm in taker_ppm:
        world = at_fees(settings, ppm, settings.instruments[0].fees.maker_ppm)
        for threshold in TAKER_THRESHOLDS:
            forecasts = efficient_price_forecasts(world, session, made.truth, mids, threshold)
            place = ppm, taker_name(threshold)
            takers[place], profits[place] = np.zeros((_block_count(session), 2)), 0.0
            if np.any(forecasts["edge_units"] != 0.0):
                result = run_backtest(world, session, events, forecasts)
                takers[place], profits[place] = _profit_blocks(result), result.net
    none = np.zeros(0, FORECAST_DTYPE)
    for rule in MAKERS if makers_too else ():
        strategy = rule.strategy(settings, session)
        result = run_backtest(settings, session, events, none, strategy=strategy, queue_model=rule.queue)
        makers[rule.name] = _markout_blocks(result, mids)
        profits[settings.instruments[0].fees.maker_ppm, rule.name] = result.net
    return SessionEdges(len(events), _median_spread_money(settings, session, mids), takers, makers, profits)


def run_sessions(
    settings: Settings,
    sessions: int,
    taker_ppm: Sequence[int],
    *,
    maker_sessions: int | None = None,
    processes: int = 0,
    keep: Path | None = None,
) -> Iterator[SessionEdges]:
    """Yield what every member did, session by session in order; several processes work ahead.

    Makers run on the first ``maker_sessions``, by default on all. Sessions that the folder ``keep`` has are read from there,
    others are written to it.
    """
    most = sessions if maker_sessions is None else maker_sessions
    calendar = settings.market_calendar().first_sessions(settings.start_date, sessions)
    workers = worker_count(len(calendar), processes)
    if workers == 1:
        for index, session in enumerate(calendar):
            yield _kept_session(settings, session, index, tuple(taker_ppm), index < most, keep)
        return
    with process_pool(workers) as pool:
        waiting = [
            pool.submit(_kept_session, settings, session, k, tuple(taker_ppm), k < most, keep)
            for k, session in enumerate(calendar)
        ]
        for future in waiting:
            yield future.result()


def _kept_session(
    settings: Settings, session: Session, index: int, taker_ppm: tuple[int, ...], makers_too: bool, keep: Path | None
) -> SessionEdges:
    if keep is None:
        return run_session(settings, session, index, taker_ppm, makers_too=makers_too)
    path = part_path(keep, settings, index, taker_ppm, makers_too=makers_too)
    if not path.exists():
        save_edges(run_session(settings, session, index, taker_ppm, makers_too=makers_too), path)
    return load_edges(path)


@dataclass(frozen=True, slots=True)
class FeeChoice:
    """Each member's edge at each fee of the grid, and the smallest fees at which nobody earns; None where none will do."""

    takers: dict[int, tuple[EdgeRow, ...]]
    makers: dict[int, tuple[EdgeRow, ...]]

    @property
    def taker_ppm(self) -> int | None:
        """The smallest taker fee at which no taker pays."""
        return _smallest(self.takers)

    @property
    def maker_ppm(self) -> int | None:
        """The smallest maker fee at which no maker pays."""
        return _smallest(self.makers)


def _smallest(found: dict[int, tuple[EdgeRow, ...]]) -> int | None:
    return next((ppm for ppm in sorted(found) if not any(row.pays for row in found[ppm])), None)


def choose_fees(
    settings: Settings,
    *,
    seed: int = CHOICE_SEED,
    sessions: int = CHOICE_SESSIONS,
    taker_ppm: Sequence[int] = TAKER_PPM,
    maker_ppm: Sequence[int] = MAKER_PPM,
    processes: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> FeeChoice:
    """Measure the grid of fees on sessions of the null world."""
    world = at_fees(null_settings(settings, seed), min(taker_ppm), 0)
    found = run_sessions(world, sessions, taker_ppm, maker_sessions=CHOICE_MAKER_SESSIONS, processes=processes)
    done = _gather(found, sessions, progress)
    spread = float(np.mean([one.spread for one in done]))
    takers = {ppm: tuple(_taker_row(done, ppm, t, spread) for t in TAKER_THRESHOLDS) for ppm in taker_ppm}
    makers = {ppm: tuple(_maker_row(done, ppm, rule, spread) for rule in MAKERS) for ppm in maker_ppm}
    return FeeChoice(takers, makers)


def certify_n1(
    settings: Settings,
    *,
    seed: int = CERTIFICATE_SEED,
    sessions: int = CERTIFICATE_SESSIONS,
    processes: int = 0,
    keep: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Certificate:
    """Run the grids through the engine on sessions of the null world.

    Parameters
    ----------
    settings : Settings
        A simulated root; its world is set to N1, its fees, latencies and instruments are what is certified. All instruments
        have the same fees.
    sessions : int
        Whole sessions.
    keep : Path, optional
        Folder that sessions are kept in.
    """
    (fees,) = {(item.fees.taker_ppm, item.fees.maker_ppm) for item in settings.instruments}
    world = null_settings(settings, seed)
    done = _gather(run_sessions(world, sessions, fees[:1], processes=processes, keep=keep), sessions, progress)
    spread = float(np.mean([one.spread for one in done]))
    rows = [_taker_row(done, fees[0], threshold, spread) for threshold in TAKER_THRESHOLDS]
    rows += [_maker_row(done, fees[1], rule, spread) for rule in MAKERS]
    return Certificate(
        world="n1",
        seed=seed,
        sessions=sessions,
        instruments=tuple(item.symbol for item in world.instruments),
        events=sum(one.events for one in done),
        taker_ppm=tuple(item.fees.taker_ppm for item in world.instruments),
        maker_ppm=tuple(item.fees.maker_ppm for item in world.instruments),
        latency=world.latency.model_dump(),
        simulator_sha256=simulator_sha256(),
        tape_sha256=tape_sha256(settings),
        settings_sha256=hashlib.sha256(world.simulator.model_dump_json().encode()).hexdigest(),
        rows=tuple(rows),
    )


def _gather(
    found: Iterator[SessionEdges], total: int, progress: Callable[[int, int], None] | None
) -> list[SessionEdges]:
    done = []
    for one in found:
        done.append(one)
        if progress is not None:
            progress(len(done), total)
    return done


def _taker_row(done: Sequence[SessionEdges], ppm: int, threshold: float, spread: float) -> EdgeRow:
    place = ppm, taker_name(threshold)
    blocks = np.concatenate([one.takers[place] for one in done])
    return edge_row(place[1], blocks, profit=sum(one.profits[place] for one in done), spread=spread)


def _maker_row(done: Sequence[SessionEdges], ppm: int, rule: MakerRule, spread: float) -> EdgeRow:
    whole = np.concatenate([one.makers[rule.name] for one in done if rule.name in one.makers])
    blocks = np.stack([whole[:, 0] - 1e-6 * ppm * whole[:, 2], whole[:, 1]], axis=1)
    profit = sum(value for one in done for (_, name), value in one.profits.items() if name == rule.name)
    return edge_row(rule.name, blocks, profit=profit, spread=spread)


def _block_count(session: Session) -> int:
    return -(-(session.close_ns - session.open_ns) // BLOCK_NS)


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
    count = _block_count(session)
    fills = result.journal[result.journal["kind"] == FILL]
    place = np.minimum((result.clock_ns - 1 - session.open_ns) // BLOCK_NS, count - 1)
    filled = np.clip((fills["ts_ns"] - session.open_ns) // BLOCK_NS, 0, count - 1)
    money = np.bincount(place, weights=result.pnl, minlength=count)
    lots = np.bincount(filled, weights=fills["size_lots"].astype(np.float64), minlength=count)
    return np.stack([money, lots], axis=1)


def _markout_blocks(result: BacktestResult, mids: Quotes) -> Float64:
    """Return by half hours what maker fills were worth a minute later less their price, their lots and notional, (blocks, 3)."""
    session = result.config.session
    count = _block_count(session)
    out = np.zeros((count, 3))
    fills = result.journal[(result.journal["kind"] == FILL) & (result.journal["flag"] == 1)]
    for item in result.config.instruments:
        own = fills[fills["instrument_id"] == item.instrument_id]
        ts, best = mids[item.instrument_id]
        later = quotes_at(ts, best, own["venue_ns"] + MARKOUT_NS)
        mid = 0.5 * (later[:, 0] + later[:, 2])
        lots = own["size_lots"].astype(np.float64)
        money = item.unit_nanos / 1e9
        worth = own["side"] * (mid - own["price_units"]) * lots * money
        place = np.clip((own["venue_ns"] - session.open_ns) // BLOCK_NS, 0, count - 1)
        out[:, 0] += np.bincount(place, weights=worth, minlength=count)
        out[:, 1] += np.bincount(place, weights=lots, minlength=count)
        out[:, 2] += np.bincount(place, weights=own["price_units"] * lots * money, minlength=count)
    return out


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose the fees or measure with them; see the module's docstring."""
    import argparse
    import logging

    from marketdata.presets import preset

    parser = argparse.ArgumentParser(prog="python -m backtests.certify", description=main.__doc__)
    parser.add_argument("what", choices=("choose", "measure"))
    parser.add_argument("--sessions", type=int)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--taker-ppm", type=int, nargs="+", default=TAKER_PPM, help="part of the grid, smallest first")
    parser.add_argument(
        "--keep", type=Path, help="folder to keep each session of the measurement in; run again to go on"
    )
    parser.add_argument("--processes", type=int, default=0, help="0: as many as there are cores and memory for")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    log = logging.getLogger(__name__)

    def say(done: int, total: int) -> None:
        log.info("session %d of %d", done, total)

    def show(rows: Sequence[EdgeRow], fee: int) -> None:
        for row in rows:
            log.info(
                "%4d ppm  %-58s %8d lots in %5d blocks  %+9.4f ± %.4f a lot, upper %+9.4f%s",
                fee,
                row.name,
                row.fills,
                row.blocks,
                row.net_per_lot,
                row.standard_error,
                row.upper_99,
                "" if not row.pays else "  PAYS",
            )

    settings = preset("simulated", None)
    if given.what == "choose":
        seed, sessions = given.seed or CHOICE_SEED, given.sessions or CHOICE_SESSIONS
        choice = choose_fees(settings, seed=seed, sessions=sessions, taker_ppm=given.taker_ppm, progress=say)
        for table in (choice.takers, choice.makers):
            for ppm, rows in table.items():
                show(rows, ppm)
        log.info("smallest fees at which nobody earns: taker %s ppm, maker %s ppm", choice.taker_ppm, choice.maker_ppm)
        return 0
    seed, sessions = given.seed or CERTIFICATE_SEED, given.sessions or CERTIFICATE_SESSIONS
    certificate = certify_n1(
        settings, seed=seed, sessions=sessions, processes=given.processes, keep=given.keep, progress=say
    )
    show(certificate.rows[: len(TAKER_THRESHOLDS)], certificate.taker_ppm[0])
    show(certificate.rows[len(TAKER_THRESHOLDS) :], certificate.maker_ppm[0])
    log.info("%s: %s", "valid" if certificate.valid else "NOT VALID", save_certificate(certificate))
    return 0 if certificate.valid else 1


if __name__ == "__main__":
    raise SystemExit(main())
