"""``flowsense trade --mode replay``: trade a finished paper session again from its journal and compare."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from marketdata.paths import DataRoot
from marketdata.settings import Settings, SettingsError
from models.forecast import ForecastArray
from orchestration.live_stream import published_events
from trading.carried import load_carried
from trading.config import known_before
from trading.journal import FILL, Journal, journal_controls


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How a replayed session compares with the one that was traded."""

    equal: bool
    sentence: str


def replay_session(
    root: DataRoot, settings: Settings, day: date | None, progress: Callable[[str, int, int], None]
) -> ReplayResult:
    """Give a session's journaled forecasts to the backtester over the published events, and compare the journals bit for bit.

    Parameters
    ----------
    day : date, optional
        Session; default: the latest that was traded to its close.

    Raises
    ------
    SettingsError
        If no such session was traded.
    """
    from backtests.replay import run_backtest
    from serving.parity import parity_report
    from serving.session_files import read_facts, read_rows

    folder = _folder(root, day)
    facts = read_facts(folder)
    which = date.fromisoformat(facts["day"])
    progress("replay", 0, 2)
    events = published_events(root, settings, which)
    session = settings.market_calendar().session(which)
    progress("replay", 1, 2)

    journal = read_rows(folder)
    carried = load_carried(root, settings, which)
    controls = journal_controls(journal, known_before(settings, session, carried))

    def again(forecasts: ForecastArray) -> Journal:
        return run_backtest(settings, session, events, forecasts, controls=controls, carried=carried).journal

    report = parity_report(journal, again)
    progress("replay", 2, 2)
    fills = int((journal["kind"] == FILL).sum())
    wrong = "; ".join(f"not so: {c.name} ({c.detail})" for c in report.checks if not c.passed)
    verdict = wrong or "the same orders and fills, bit for bit"
    return ReplayResult(report.passed, f"{folder.name}: {len(journal):,} journal rows, {fills:,} fills: {verdict}")


def _folder(root: DataRoot, day: date | None) -> Path:
    from serving.session_files import SESSION_FILE, read_facts

    found = [p.parent for p in sorted(root.journals.glob(f"*/{SESSION_FILE}"))]
    facts = {p: read_facts(p) for p in found}
    closed = [p for p in found if facts[p].get("status") == "closed" and (day is None or facts[p]["day"] == str(day))]
    if not closed:
        raise SettingsError(f"{root.journals}: no session{f' of {day}' if day else ''} was traded to its close")
    return closed[-1]
