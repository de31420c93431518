"""What features cost: the kernel timed with all families and with all but one, the join of instruments, the fitted steps.

The product carries one measurement (:data:`MEASURED_FILE`), so that the catalogue always says what a column costs;
``flowsense features list --measure`` makes another on the machine at hand.
"""

import json
import platform
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.assembler import RowAssembler
from features.dataset import Dataset
from features.dataset_day import build_dataset_day, dataset_from_frames
from features.entry import FeatureEntry
from features.families import CORE, FAMILIES, LEAD_LAG
from features.fitted.catalog import FITTED, REGIMES
from features.fitted.family import RowBatch
from features.fitted.hawkes_intensity import HawkesParams, intensities
from features.fitted.params import FitWindow
from features.fitted.regimes import RegimeParams, filter_regimes, init_regimes
from features.labels import executable_labels
from features.pipeline import FeaturePipeline, rows_of_session
from marketdata.events import EventArray
from marketdata.settings import Settings
from marketdata.sources import build_source

SHARED: Final = "shared"
"""Totals, rings and averages that the families beside the core share."""
REPEATS: Final = 5
ROUNDS: Final = 9
TIMED_EVENTS: Final = 30_000
CROSS: Final = "cross"
"""Columns made of the peers' latest rows; they are always there."""
FITTED_FAMILY: Final = "fitted"
MEASURED_FILE: Final = Path(__file__).with_name("measured_costs.json")
ROWS: Final = 20_000
REGIME_INPUTS: Final = 4
KNOTS: Final = 13
DECAYS: Final = (10.0, 1.0, 0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCosts:
    """One measurement.

    Attributes
    ----------
    machine : str
        Processor and Python it was made on.
    families : dict
        ns a row of each family of the kernel, and of what they share; as :func:`family_costs` gives them.
    joined : dict
        ns a row of ``cross`` and ``lead_lag``.
    fitted : dict
        ns a row of each fitted part.
    """

    machine: str
    families: dict[str, float]
    joined: dict[str, float]
    fitted: dict[str, float]

    def column_costs(self, entries: Sequence[FeatureEntry]) -> dict[str, float | None]:
        """Return the cost of each column in ns a row: its part's, shared evenly by the part's columns.

        None: a column that no row pays for (slow signals are made once a snapshot), or of a family that was not measured.
        """
        parts = {entry.name: self._part(entry) for entry in entries}
        number = Counter(parts.values())
        costs = {
            **{("kernel", family): ns for family, ns in self.families.items()},
            **{("joined", family): ns for family, ns in self.joined.items()},
            **{(FITTED_FAMILY, part): ns for part, ns in self.fitted.items()},
        }
        return {name: costs[part] / number[part] if part in costs else None for name, part in parts.items()}

    def _part(self, entry: FeatureEntry) -> tuple[str, str]:
        if entry.family == FITTED_FAMILY:
            return FITTED_FAMILY, entry.key
        return ("joined" if entry.family in self.joined else "kernel"), entry.family


def stored_costs() -> MeasuredCosts:
    """Return the measurement that the product carries."""
    return MeasuredCosts(**json.loads(MEASURED_FILE.read_text(encoding="utf-8")))


def measure_costs(pipeline: FeaturePipeline, events: EventArray, settings: Settings) -> MeasuredCosts:
    """Return what everything costs here: the kernel on these events, joins on random rows, fitted steps on a simulated session.

    Parameters
    ----------
    pipeline : FeaturePipeline
        Of every family.
    events : event array
        Of its instrument.
    settings : Settings
        Of the simulated source, with every family.
    """
    return MeasuredCosts(
        machine=f"{_processor()}, Python {platform.python_version()}",
        families={name: round(ns, 1) for name, ns in family_costs(pipeline, events).items()},
        joined={name: round(ns, 1) for name, ns in joined_costs(settings).items()},
        fitted={name: round(ns, 1) for name, ns in fitted_costs(simulated_table(settings)).items()},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _shortest(run: Callable[[], Any]) -> float:
    """Return the shortest processor time of a few runs, ns, after one that compiles."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) * 1e9


def _random_rows(settings: Settings, columns: int) -> tuple[Any, Any, Any]:
    """Return (instrument, ts_recv, raw values) of rows of all instruments, one a second of the market: seeded."""
    rng = np.random.default_rng(1)
    ts = np.cumsum(rng.exponential(1e9, ROWS).astype(np.int64))
    return rng.integers(0, len(settings.instruments), ROWS), ts, rng.standard_normal((ROWS, columns))


def _assemble_all(assembler: RowAssembler, rows: tuple[Any, Any, Any]) -> None:
    assembler.assemble(assembler.init(), *rows)


def joined_costs(settings: Settings) -> dict[str, float]:
    """Return the cost in ns a row of the columns made of other instruments' rows: the peers' means, and lead-lag."""
    found = {}
    for family in (CORE, LEAD_LAG):
        sampling = settings.sampling.model_copy(update={"families": (CORE, family)})
        assembler = RowAssembler(settings.model_copy(update={"sampling": sampling}))
        rows = _random_rows(settings, len(assembler.spec.columns))
        found[family] = _shortest(partial(_assemble_all, assembler, rows)) / ROWS
    return {CROSS: found[CORE], LEAD_LAG: max(found[LEAD_LAG] - found[CORE], 0.0)}


def fitted_costs(train: Dataset) -> dict[str, float]:
    """Return the cost in ns a row of each fitted part.

    Members are fitted on the table; one that its rows cannot give is left out. Regimes and Hawkes intensities, whose fits live
    with the models, take made-up parameters of the usual shapes: a step's time does not depend on them.
    """
    count, times = len(train.instruments), max(ROWS // len(train), 1)
    ids = [item.instrument_id for item in train.instruments]
    places = np.array([ids.index(k) for k in train.instrument_id], np.int64)
    window = FitWindow(int(train.ts_recv[0]), int(train.ts_recv[-1]), int(train.ts_recv[-1]))
    raw, instrument = np.tile(train.x, (times, 1)), np.tile(places, times)
    batch = RowBatch(instrument, np.linspace(0.0, 1.0, len(raw)), raw)
    hawkes = HawkesParams(DECAYS, np.ones((count, 4, KNOTS)), np.full((count, 4, 4, len(DECAYS)), 0.01), window)
    rng = np.random.default_rng(2)
    mean, spread = rng.standard_normal((REGIMES, REGIME_INPUTS)), np.ones((REGIMES, REGIME_INPUTS))
    even = np.full((REGIMES, REGIMES), 1 / REGIMES)
    regimes = RegimeParams(tuple(f"c{k}" for k in range(REGIME_INPUTS)), even[0], even, mean, spread, window)
    counts = rng.random((len(raw), 4 * len(DECAYS))).astype(np.float32)
    observed = rng.standard_normal((len(raw), REGIME_INPUTS)).astype(np.float32)
    found = {
        "regimes": _shortest(lambda: filter_regimes(regimes, init_regimes(regimes, count), instrument, observed)),
        "hawkes": _shortest(lambda: intensities(hawkes, instrument, batch.elapsed_share, counts)),
    }
    for name, member in FITTED.items():
        params = member.fit(train, places, window)
        if params is not None:
            found[name] = _shortest(partial(params.step, batch))
    return {name: ns / len(raw) for name, ns in found.items()}


def simulated_table(settings: Settings) -> Dataset:
    """Return the rows of one simulated session with every family of the kernel, two instruments, for timing."""
    session = build_source(settings).sessions()[0]
    rows, labels = {}, {}
    for item in settings.instruments:
        source = build_source(settings)
        events = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
        rows[item.symbol] = rows_of_session(settings, item, session, events)
        labels[item.symbol] = executable_labels(
            rows[item.symbol], events, item, settings.label, settings.latency, session
        )
    frame, _ = build_dataset_day(session.date, settings, rows, labels, {}, {})
    return dataset_from_frames([frame], settings, [session])


def _pass(pipeline: FeaturePipeline, families: tuple[str, ...], every: int, events: EventArray) -> tuple[float, int]:
    """Return the processor time of one pass that takes a row after so many events, ns, and its rows."""
    update = {"families": families, "clock": "events", "every_events": every}
    sampling = pipeline.sampling.model_copy(update=update)
    chosen = replace(pipeline, sampling=sampling)
    state = chosen.init()
    start = time.process_time()
    rows = chosen.step(state, events)[1]
    return (time.process_time() - start) * 1e9, len(rows.keys)


def family_costs(pipeline: FeaturePipeline, events: EventArray) -> dict[str, float]:
    """Return the cost of each family in ns of processor time a row, at the pipeline's own number of events a row.

    A family costs what writing its columns takes: the time that a pass with a row at every group saves without it, not below 0.
    ``core`` also keeps the book and the totals up to date with every event, and ``shared`` is what any family beside the core
    needs there. The passes take turns, so that a busy moment of the machine meets all of them; the shortest of each counts.
    """
    events = events[:TIMED_EVENTS]
    whole, never = tuple(FAMILIES), len(events) + 1
    variants = {CORE: (CORE,), "": whole} | {f: tuple(name for name in whole if name != f) for f in FAMILIES}
    runs = [*((chosen, 1) for chosen in variants.values()), ((CORE,), never), (whole, never)]
    _pass(pipeline, (CORE,), 1, events[:2_000])
    found = [[_pass(pipeline, chosen, every, events) for chosen, every in runs] for _ in range(ROUNDS)]
    rows = max(found[0][0][1], 1)
    best = np.min([[took for took, _ in one] for one in found], axis=0)
    *written, core, both = best.tolist()
    at_row = dict(zip(variants, written, strict=True))
    a_row = len(events) / rows if pipeline.sampling.clock != "events" else pipeline.sampling.every_events
    costs = {CORE: max(at_row[CORE] - core, 0.0) / rows + core / len(events) * a_row}
    costs |= {family: max(at_row[""] - at_row[family], 0.0) / rows for family in FAMILIES}
    costs[SHARED] = max(both - core, 0.0) / len(events) * a_row
    return costs
