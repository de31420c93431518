"""What the local stream server plays: simulated sessions one after the other, or published ones again."""

from collections.abc import Iterator
from datetime import date, timedelta

from marketdata.clock import Session
from marketdata.events import EventArray, events_from_frame, merge_events
from marketdata.feeds import ReplayFeed, StreamItem, stream_session
from marketdata.partitions import PartitionMissing, load_partition
from marketdata.paths import DataRoot, PartitionKey
from marketdata.settings import Settings, SettingsError
from models.decisions import DecisionLedger
from orchestration.resources import open_source

SIMULATOR = "simulator"
REPLAY = "replay:"


def live_items(root: DataRoot, settings: Settings, feed: str, speed: float) -> Iterator[StreamItem]:
    """Give the stream's sessions at ``speed`` times their own pace.

    Parameters
    ----------
    feed : str
        ``simulator``: the simulated market, from the session after the last decided night on, without end.
        ``replay:YYYY-MM-DD``: that session's published events, once.
    speed : float
        Multiple of the market's own pace.

    Raises
    ------
    SettingsError
        If the feed is neither, or the root's source is not simulated and ``simulator`` is asked for.
    """
    if feed == SIMULATOR:
        if settings.source != "simulated":
            raise SettingsError(
                f"{root.settings_file}: source {settings.source} is recorded; choose --feed replay:YYYY-MM-DD"
            )
        return _simulated(root, settings, speed)
    if feed.startswith(REPLAY):
        try:
            day = date.fromisoformat(feed.removeprefix(REPLAY))
        except ValueError as error:
            raise SettingsError(f"--feed {feed}: {error}") from error
        session = settings.market_calendar().session(day)
        return _session(settings, session, published_events(root, settings, day), speed)
    raise SettingsError(f"--feed {feed}: neither simulator nor replay:YYYY-MM-DD")


def default_feed(root: DataRoot, settings: Settings) -> str:
    """Return the feed of a root when none is named: the simulator, or a replay of the last published session.

    Raises
    ------
    SettingsError
        If a recorded root has no published session yet.
    """
    if settings.source == "simulated":
        return SIMULATOR
    days = sorted(p.parent.name for p in (root.path / "published" / "events").glob("*/*/data.parquet"))
    if not days:
        raise SettingsError(
            f"{root.path}: no session is published yet; run `flowsense run --source {settings.source}` first"
        )
    return f"{REPLAY}{days[-1]}"


def published_events(root: DataRoot, settings: Settings, day: date) -> EventArray:
    """Return a session's published events of all instruments, merged by receive time.

    Raises
    ------
    marketdata.partitions.PartitionMissing
        If no instrument has any.
    """
    parts = []
    for item in settings.instruments:
        try:
            parts.append(events_from_frame(load_partition(root, PartitionKey("events", day, item.symbol))))
        except PartitionMissing:
            continue
    if not parts:
        raise PartitionMissing(f"no events of {day} are published")
    return merge_events(parts)


def _simulated(root: DataRoot, settings: Settings, speed: float) -> Iterator[StreamItem]:
    source = open_source(root, settings.model_dump_json())
    calendar = settings.market_calendar()
    day = _first_live_day(root, settings)
    while True:
        for session in calendar.sessions(day, day + timedelta(days=7)):
            parts = [
                source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
                for item in settings.instruments
            ]
            yield from _session(settings, session, merge_events(parts), speed)
        day += timedelta(days=8)


def _first_live_day(root: DataRoot, settings: Settings) -> date:
    decided = [date.fromisoformat(record.night) for record in DecisionLedger(root).history() if record.night]
    return max(decided) + timedelta(days=1) if decided else settings.start_date


def _session(settings: Settings, session: Session, events: EventArray, speed: float) -> Iterator[StreamItem]:
    feed = ReplayFeed(events, speed=speed, start_ns=session.open_ns)
    yield from stream_session(session, [item.symbol for item in settings.instruments], feed)
