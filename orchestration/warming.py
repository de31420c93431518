"""Compile the large kernels of a night before the night needs them: on empty input, so that nothing but the compiler works.

A kernel is compiled once on a machine and kept (``marketdata.environment``). ``make setup`` does it by ``flowsense warm``, in
two processes that do not compile the same; where that was not done, or a kernel has changed, a companion does it while the night
simulates its first session. Where everything is kept already, it takes seconds.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
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


def warm_market(root: DataRoot) -> None:
    """Compile the simulated market: a session of few events, because an empty one does not run."""
    from marketdata.simulator.session import simulate_session

    settings = root.settings()
    few = settings.model_copy(
        update={"simulator": settings.simulator.model_copy(update={"events_per_session": FEW_EVENTS})}
    )
    simulate_session(few, few.market_calendar().first_sessions(few.start_date, 1)[0], 0)


def warm_codecs(root: DataRoot) -> None:
    """Compile the decoders of every venue and session protocol, and the books that their events go into."""
    from marketdata.codecs.catalog import VENUES
    from marketdata.codecs.formats import PROTOCOLS
    from marketdata.frames import QUARANTINE, frame_batch

    settings = root.settings()
    instruments = {item.symbol: item for item in settings.instruments}
    now_ns = settings.market_calendar().first_sessions(settings.start_date, 1)[0].open_ns
    for build in (*VENUES.values(), *PROTOCOLS.values()):
        codec = build(instruments, QUARANTINE)
        codec.step(codec.init(), frame_batch([(now_ns, b"{}")]))  # set aside, but read


FEW_EVENTS: Final = 500
TASKS: Final[dict[str, Callable[[DataRoot], None]]] = {
    "the simulated market": warm_market,
    FEATURES: warm_features,
    ENGINE: warm_engine,
    "decoders of the venues": warm_codecs,
}
"""What ``flowsense warm`` compiles, longest first."""


def warm_task(name: str) -> float:
    """Compile one of :data:`TASKS` for the simulated source's default settings; return the seconds that it took."""
    from marketdata.presets import preset
    from marketdata.settings import save_settings

    start = time.perf_counter()
    with TemporaryDirectory(prefix="flowsense-warm-") as folder:
        root = DataRoot(Path(folder))
        save_settings(preset("simulated", None), root.settings_file)
        TASKS[name](root)
    return time.perf_counter() - start


def warm_all(processes: int = 2) -> Iterator[tuple[str, float]]:
    """Compile every kernel of a night, side by side; yield name and seconds of each part as it is done."""
    from concurrent.futures import as_completed

    from backtests.workers import process_pool

    with process_pool(max(1, processes)) as pool:
        running = {pool.submit(warm_task, name): name for name in TASKS}
        for done in as_completed(running):
            yield running[done], done.result()
