"""Small simulated worlds shared by the simulator's tests."""

from datetime import date

import numpy as np
import numpy.typing as npt

from marketdata.clock import NS_PER_HOUR, NS_PER_S, Session
from marketdata.instruments import Fees, Instrument
from marketdata.settings import Settings, SimulatorSettings
from marketdata.simulator.oracle import quotes, quotes_at
from marketdata.simulator.session import SimulatedSession, simulate_session

SYMBOLS = ("ALFA", "BRAVO", "CARGO", "DELTA", "ECHO")
Float64 = npt.NDArray[np.float64]


def make_settings(instruments: int = 1, **simulator: object) -> Settings:
    return Settings(
        source="simulated",
        calendar="XNYS",
        time_zone="America/New_York",
        start_date=date(2026, 1, 5),
        sessions=20,
        instruments=tuple(
            Instrument(
                symbol=symbol,
                instrument_id=k,
                venue="SIM",
                unit_nanos=10_000_000,
                price_decimals=0.01,
                fees=Fees(taker_ppm=30),
            )
            for k, symbol in enumerate(SYMBOLS[:instruments])
        ),
        simulator=SimulatorSettings.model_validate(simulator),
    )


def hour(session: Session) -> Session:
    return Session(session.date, session.open_ns, session.open_ns + NS_PER_HOUR)


def simulate_many(settings: Settings, count: int) -> list[tuple[Session, SimulatedSession]]:
    sessions = settings.market_calendar().first_sessions(settings.start_date, count)
    return [(session, simulate_session(settings, session, k)) for k, session in enumerate(sessions)]


def mid_each_second(world: SimulatedSession, symbol: str, session: Session) -> Float64:
    ts, best = quotes(world.ticks[symbol])
    when = np.arange(session.open_ns + 60 * NS_PER_S, session.close_ns, NS_PER_S)
    at = quotes_at(ts, best, when)
    return 0.5 * (at[:, 0] + at[:, 2])


def signature(paths: list[Float64], horizons_s: tuple[int, ...]) -> Float64:
    """Return the variance of the mid's moves per second of horizon, pooled over paths."""
    rates = []
    for h in horizons_s:
        moves = np.concatenate([(p[h:] - p[:-h]) / np.sqrt(np.mean((p[10:] - p[:-10]) ** 2)) for p in paths])
        rates.append(float(np.mean(moves**2)) / h)
    return np.array(rates)
