"""Compile the large kernels of a night before the night needs them: on empty input, so that nothing but the compiler works.

A kernel is compiled once on a machine and kept (``marketdata.environment``). On a fresh clone a companion does it while the
night simulates its first session; where everything is kept already, this takes a second.
"""

from typing import Final

from marketdata.paths import DataRoot
from orchestration import companion

FEATURES: Final = "kernels of the features"
ENGINE: Final = "kernels of the engine"


def offer_kernels(root: DataRoot) -> None:
    """Offer the compiling to the companions of this night, what is needed first first."""
    companion.offer(FEATURES, FEATURES, warm_features, root)
    companion.offer(ENGINE, ENGINE, warm_engine, root)


def warm_features(root: DataRoot) -> None:
    """Compile what makes feature rows of a session of the root's instruments."""
    from features.pipeline import rows_of_session
    from marketdata.events import empty_events

    settings = root.settings()
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]
    for instrument in settings.instruments:
        rows_of_session(settings, instrument, session, empty_events(0))


def warm_engine(root: DataRoot) -> None:
    """Compile the engine as a night's band and its paper session run it."""
    import numpy as np

    from backtests.band import run_band
    from marketdata.events import empty_events
    from models.forecast import FORECAST_DTYPE

    settings = root.settings()
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]
    nothing = empty_events(0), np.zeros(0, FORECAST_DTYPE)
    run_band(settings, {session: nothing}, queues=("risk_averse",), latencies=(1.0,))
