"""What each family of features costs: the kernel timed with all families and with all but one."""

import time
from typing import Final

from features.families import CORE, FAMILIES
from features.pipeline import FeaturePipeline
from marketdata.events import EventArray

SHARED: Final = "shared"
"""Totals, rings and averages that the families beside the core share."""
REPEATS: Final = 5


def _ns(pipeline: FeaturePipeline, families: tuple[str, ...], events: EventArray) -> float:
    """Return the shortest processor time of a few passes, ns an event."""
    chosen = FeaturePipeline(
        pipeline.instrument,
        pipeline.sampling.model_copy(update={"families": families}),
        pipeline.session_open_ns,
        pipeline.session_close_ns,
        pipeline.time_of_day,
    )
    times = []
    for _ in range(REPEATS):
        state = chosen.init()
        start = time.process_time()
        chosen.step(state, events)
        times.append(time.process_time() - start)
    return min(times) / len(events) * 1e9


def family_costs(pipeline: FeaturePipeline, events: EventArray) -> dict[str, float]:
    """Return the cost of each family in ns of processor time an event, rows included as the pipeline samples them.

    A family's cost is what the pass over all families saves without it, not below 0; ``core`` is the pass over the core alone,
    ``shared`` the rest, which any family beside the core needs. They add up to the pass over all unless noise was cut at 0.
    """
    _ns(pipeline, (CORE,), events[:2_000])
    core, everything = _ns(pipeline, (CORE,), events), _ns(pipeline, tuple(FAMILIES), events)
    costs = {CORE: core}
    for family in FAMILIES:
        others = tuple(name for name in FAMILIES if name != family)
        costs[family] = max(everything - _ns(pipeline, others, events), 0.0)
    costs[SHARED] = max(everything - sum(costs.values()), 0.0)
    return costs
