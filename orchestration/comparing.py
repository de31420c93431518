"""``flowsense ab``: two execution algorithms on the same parent orders, over a night's test sessions."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from marketdata.clock import NS_PER_MINUTE, NS_PER_S, Session
from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from orchestration.backtesting import model_days

if TYPE_CHECKING:
    from backtests.ab import ABResult, Assignment, Make
    from backtests.tca import ParentReport
    from marketdata.events import EventArray
    from models.forecast import ForecastArray

ALGORITHMS: Final = ("twap", "twap_resting", "hybrid_twap", "vwap", "pov", "implementation_shortfall", "iceberg")
POV_RATE: Final = 0.1
REPORTED: Final = ("shortfall_bps", "decision_bps", "arrival_bps", "vwap_bps", "fill_rate", "maker_share", "children")
LATENCIES: Final = ("decision_us", "wire_us", "acknowledgement_us", "queue_us", "fill_us")
PAGE_ONLY: Final = ("block", "groups", "pairs", "changes")
"""What a comparison holds for its page beside what ``--json`` prints."""
PARTS: Final = ("shortfall", "delay", "execution", "opportunity", "fees")


def algorithm(name: str, curves: "Callable[[Assignment], Sequence[int]]") -> "Make":
    """Return what makes a strategy of an assignment; an iceberg and a participation show a tenth of the parent.

    Parameters
    ----------
    name : str
        One of ``ALGORITHMS``.
    curves : callable
        Cumulative volume shares in ppm over an assignment's life, for ``vwap``.

    Raises
    ------
    SettingsError
        If there is no such algorithm.
    """
    import numpy as np

    from trading import execution_algorithms

    known: dict[str, Make] = {
        "twap": lambda one: execution_algorithms.twap(one.parent),
        "twap_resting": lambda one: execution_algorithms.twap(one.parent, placement="rest"),
        "hybrid_twap": lambda one: execution_algorithms.hybrid_twap(one.parent),
        "vwap": lambda one: execution_algorithms.vwap(one.parent, np.array(curves(one), np.int64)),
        "pov": lambda one: execution_algorithms.participation(
            one.parent, rate=POV_RATE, display=max(1, one.parent.lots // 10)
        ),
        "implementation_shortfall": lambda one: execution_algorithms.implementation_shortfall(one.parent),
        "iceberg": lambda one: execution_algorithms.iceberg(one.parent, display=max(1, one.parent.lots // 10)),
    }
    if name not in known:
        raise SettingsError(f"unknown algorithm {name!r}: {', '.join(ALGORITHMS)}")
    return known[name]


def compare_algorithms(
    root: DataRoot,
    settings: Settings,
    names: tuple[str, str],
    *,
    changes: Sequence[str] = (),
    day: date | None,
    model: str | None,
    parents: int,
    lots: int,
    minutes: float,
    queue_model: str,
    seed: int,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """Draw parents over a night's test sessions, work each with both algorithms, and compare in pairs.

    Returns
    -------
    dict
        Plain data, None where a figure is not known: what was compared, the mean difference of the second from the first with
        its interval, and per algorithm the means over parents and the sums of the shortfall's parts; for the page also
        ``groups``, ``pairs`` (one a parent), ``block`` and ``changes`` (:data:`PAGE_ONLY`).

    Raises
    ------
    SettingsError
        If there is no such algorithm, queue model, night or model, or nothing to compare.
    """
    from trading.hooks import find_queue_model

    find_queue_model(queue_model)
    if names[0] == names[1]:
        raise SettingsError("an algorithm is compared with another one")
    for name in names:
        algorithm(name, lambda _: ())
    from dataclasses import asdict

    from backtests.ab import group_differences
    from backtests.report.ab_page import pair_rows
    from models.evidence import plain

    night, chosen, days = model_days(root, settings, day, model)
    made, found = compare_on(
        settings,
        days,
        names,
        parents=parents,
        lots=lots,
        minutes=minutes,
        queue_model=queue_model,
        seed=seed,
        progress=progress,
    )
    page = {
        "block": found.block,
        "groups": [asdict(one) for one in group_differences(found, seed)],
        "pairs": pair_rows(found, settings.time_zone),
        "changes": list(changes),
    }
    return {"night": night.isoformat(), "model": chosen, **made, **plain(page)}


def compare_on(
    settings: Settings,
    days: "Mapping[Session, tuple[EventArray, ForecastArray]]",
    names: tuple[str, str],
    *,
    parents: int,
    lots: int,
    minutes: float,
    queue_model: str,
    seed: int,
    progress: Callable[[str, int, int], None] | None = None,
) -> "tuple[dict[str, Any], ABResult]":
    """Draw parents over sessions, work each with both algorithms, and compare in pairs.

    Returns
    -------
    dict
        As :func:`compare_algorithms`, less night and model.
    ABResult
        The comparison itself.

    Raises
    ------
    SettingsError
        If there is no such algorithm, or nothing to compare.
    """
    from backtests.ab import ABError, compare, draw_parents
    from models.evidence import plain
    from trading.execution import ParentError

    sessions = list(days)
    history = VolumeHistory(days, sessions, settings)
    try:
        drawn = draw_parents(
            sessions,
            settings.instruments,
            parents=parents,
            lots=lots,
            length_ns=round(minutes * NS_PER_MINUTE),
            seed=seed,
        )
        made = compare(
            settings,
            drawn,
            lambda session: days[session],
            {name: algorithm(name, history.curve) for name in names},
            queue_model=queue_model,
            seed=seed,
            progress=progress,
        )
    except (ABError, ParentError) as error:
        raise SettingsError(str(error)) from error
    said = plain(
        {
            "sessions": [session.date.isoformat() for session in sessions],
            "parents": len(drawn),
            "lots": lots,
            "minutes": minutes,
            "queue_model": queue_model,
            "a": names[0],
            "b": names[1],
            "difference_bps": made.difference_bps,
            "low_bps": made.low_bps,
            "high_bps": made.high_bps,
            "differs": made.differs,
            "algorithms": {name: _summary(reports) for name, reports in zip(names, made.reports, strict=True)},
        }
    )
    return said, made


class VolumeHistory:
    """What traded in each minute of the test sessions: a parent's volume curve comes from the sessions before its own."""

    def __init__(
        self, days: "Mapping[Session, tuple[EventArray, ForecastArray]]", sessions: list[Session], settings: Settings
    ) -> None:
        self._days, self._sessions, self._settings = days, sessions, settings
        self._volumes: dict[tuple[Session, int], Any] = {}

    def curve(self, one: "Assignment") -> list[int]:
        """Return cumulative shares in ppm over an assignment's life: a straight line where no session came before it."""
        import numpy as np

        from trading.execution_algorithms import straight_curve, volume_curve

        earlier = [session for session in self._sessions if session.open_ns < one.session.open_ns]
        first = (one.parent.start_ns - one.session.open_ns) // NS_PER_MINUTE
        last = max((one.parent.end_ns - one.session.open_ns - 1) // NS_PER_MINUTE, first)
        number = self._settings.instrument(one.symbol).instrument_id
        lots = np.zeros(last - first + 1, np.int64)
        for session in earlier:
            minutes = self._minutes(session, number)[first : last + 1]
            lots[: len(minutes)] += minutes
        curve = volume_curve(lots) if lots.sum() else straight_curve()
        return [int(value) for value in curve]

    def _minutes(self, session: Session, number: int) -> Any:
        import numpy as np

        from marketdata.events import EXECUTE, HIDDEN, TRADE

        if (session, number) not in self._volumes:
            events = self._days[session][0]
            trades = events[np.isin(events["action"], (EXECUTE, HIDDEN, TRADE))]
            for each in np.unique(trades["instrument_id"]).tolist():
                own = trades[trades["instrument_id"] == each]
                minute = np.maximum((own["ts_event"] - session.open_ns) // NS_PER_MINUTE, 0)
                self._volumes[session, each] = np.bincount(minute, weights=own["size_lots"]).astype(np.int64)
            self._volumes.setdefault((session, number), np.zeros(0, np.int64))
        return self._volumes[session, number]


def _summary(reports: "Sequence[ParentReport]") -> dict[str, float]:
    import numpy as np

    from backtests.tca import MARKOUTS_NS

    means = {name: _known_mean([getattr(report, name) for report in reports]) for name in REPORTED}
    sums = {name: float(np.sum([getattr(report, name) for report in reports])) for name in PARTS}
    curve = {
        f"markout_{after / NS_PER_S:g}s_bps": _known_mean([report.markout_bps[k] for report in reports])
        for k, after in enumerate(MARKOUTS_NS)
    }
    split = {name: _known_mean([getattr(report.latency, name) for report in reports]) for name in LATENCIES}
    return {**means, **sums, **curve, **split}


def _known_mean(values: Sequence[float]) -> float:
    known = [value for value in values if value == value]
    return float(sum(known) / len(known)) if known else float("nan")
