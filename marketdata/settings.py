"""The settings of one data root: validated at start, unknown keys rejected, written as ``settings.toml``."""

import os
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import tomli_w
from pydantic import AfterValidator, Field, ValidationError, model_validator

from marketdata.clock import NS_PER_MS, NS_PER_S, Calendar
from marketdata.instruments import Instrument
from marketdata.venue_settings import MaintenanceWindow as MaintenanceWindow
from marketdata.venue_settings import Section, SizingSettings, Venues, VenueSettings, ZoneName

SourceName = Literal["simulated", "lobster", "lean_equity", "crypto_2026", "recorded"]


class SettingsError(ValueError):
    """The settings are missing or wrong; the message names the file and the field."""


class SimulatorSettings(Section):
    """The simulated market. ``signal`` is the oracle's net profit per round trip in median spreads (0: nothing pays)."""

    seed: int = 7
    world: Literal["market", "n1", "n2"] = "market"
    """``n1``: no informed trader and nothing pays; ``n2``: slow signals say nothing about a market that has a tick signal."""
    signal: float = Field(default=1.0, ge=-1.0, le=4.0)
    events_per_session: int = Field(default=130_000, ge=1_000)
    option_snapshots: int = Field(default=20, ge=1)
    option_contracts: int = Field(default=40, ge=2)
    posts: int = Field(default=200, ge=1)
    transfers: int = Field(default=100, ge=1)


SAMPLING_CLOCKS = ("events", "trades", "time", "volume")
"""What passes between two feature rows."""


class SamplingSettings(Section):
    """When a feature row is taken: once so much of the clock has passed since the row before, at the end of an event group.

    The clock counts events, aggressors (executions of one exchange time and side), time on a fixed grid, or lots traded.
    """

    clock: Literal["events", "trades", "time", "volume"] = "events"
    every_events: int = Field(default=50, ge=1)
    every_trades: int = Field(default=5, ge=1)
    every_ns: int = Field(default=1 * NS_PER_S, ge=1)
    every_lots: int = Field(default=100, ge=1)
    families: tuple[str, ...] = ("core",)
    """Families of raw features; ``core`` is always among them, ``all`` stands for every one (``flowsense features list``)."""
    own: tuple[Path, ...] = ()
    """Files that each give a feature of one's own as ``FEATURE``, compiled: columns after the families', in this order; a
    relative path begins at the folder of the settings' file."""
    max_rows: int = Field(default=20_000, ge=1)
    windows_ns: tuple[int, ...] = (1 * NS_PER_S, 10 * NS_PER_S, 60 * NS_PER_S)
    decays_per_s: tuple[float, ...] = (10.0, 1.0, 0.1)
    warmup_sessions: int = Field(default=0, ge=0)
    """Earlier sessions replayed before a partition so that its rows start warm (round-the-clock markets)."""

    @property
    def every(self) -> int:
        """How much of the chosen clock passes between rows: events, aggressors, ns or lots."""
        return (self.every_events, self.every_trades, self.every_ns, self.every_lots)[SAMPLING_CLOCKS.index(self.clock)]


class LabelSettings(Section):
    """What a label is; ``executable``: mid at ``ts_recv + latency + horizon`` minus mid at ``ts_recv + latency``."""

    form: Literal["executable", "events", "anchored", "smoothed", "next_move", "triple_barrier", "volatility"] = (
        "executable"
    )
    """Which label the night trains on; the anchored and the smoothed one are for comparison, because nobody can trade them."""
    horizon_ns: int = Field(default=10 * NS_PER_S, gt=0)
    horizon_events: int = Field(default=100, ge=1)
    """Event groups after the arrival at which the ``events`` form ends."""
    barrier_thresholds: float = Field(default=2.0, gt=0)
    """Distance of the triple barrier's sides from the mid, in half spreads plus fee."""
    max_gap_ns: int = Field(default=60 * NS_PER_S, gt=0)
    """A quote older than this is no quote: the label is NaN across the gap."""


class LatencySettings(Section):
    """Constant latencies of the simulated path; also the label's median decision + order latency."""

    feed_ns: int = Field(default=1 * NS_PER_MS, ge=0)
    feed_jitter_ns: int = Field(default=250_000, ge=0)
    """Largest jitter of the modelled receive time of sources that have none (``marketdata.receive_clock``)."""
    feed_seed: int = Field(default=5, ge=0)
    inference_ns: int = Field(default=2 * NS_PER_MS, ge=0)
    decision_ns: int = Field(default=100_000, ge=0)
    order_ns: int = Field(default=2 * NS_PER_MS, ge=0)
    response_ns: int = Field(default=2 * NS_PER_MS, ge=0)

    @property
    def to_venue_ns(self) -> int:
        """From a row's ``ts_recv`` to the moment its order reaches the venue."""
        return self.inference_ns + self.decision_ns + self.order_ns


class TrainingSettings(Section):
    """What is trained, on how much, and how the walk is cut."""

    models: tuple[str, ...] = ("linear", "hawkes", "hmm", "transformer", "gnn")
    fold_unit: Literal["session", "block", "week"] = "session"
    block_minutes: int = Field(default=30, ge=30)
    first_train_units: int = Field(default=3, ge=1)
    """Sessions, blocks or weeks that the first fold trains on; each later unit is one test fold."""
    window_sessions: int = Field(default=20, ge=1)
    """Sessions at most that a training window reaches back."""
    min_instruments: int = Field(default=3, ge=1)
    inner_share: float = Field(default=0.15, gt=0, lt=0.5)
    """Last part of the training rows held out, purged, for early stopping and the choice of the trading threshold."""
    seed: int = 11
    time_of_day_features: bool = True
    feature_selection: Literal["none", "bh", "by"] = "none"
    """Whether the linear model sees only the columns that are discoveries in its own training window, and how false ones
    are controlled: Benjamini-Hochberg or Benjamini-Yekutieli."""
    false_discovery_rate: float = Field(default=0.05, gt=0, lt=1)
    deep_row_cap: int = Field(default=60_000, ge=100)
    deep_steps: int = Field(default=300, ge=1)
    deep_batch: int = Field(default=256, ge=1)


class StrategySettings(Section):
    """The strategy that trades a forecast; the same parameters in backtest, paper and live."""

    name: str = Field(default="taker", min_length=1)
    """As ``flowsense strategies list`` has it, or ``path.py:name``; a night's gate and band always judge by the taker."""
    parameters: tuple[str, ...] = ()
    """Of a strategy other than the taker, as ``name=value``."""
    max_position_lots: int = Field(default=5, ge=1)
    order_lots: int = Field(default=1, ge=1)
    edge_margin: float = Field(default=0.1, ge=0)
    """Enter when the forecast edge exceeds the round-trip cost by this share of the cost."""
    kelly_fraction: float = Field(default=0.25, gt=0, le=1)
    capital: float = Field(default=100_000.0, gt=0)


class RiskSettings(Section):
    """Pre-trade limits, checked in process on open + in flight + pending cancel at its worst."""

    max_position_lots: int = Field(default=10, ge=1)
    max_order_lots: int = Field(default=5, ge=1)
    max_orders_per_s: int = Field(default=20, ge=1)
    price_collar_bps: float = Field(default=100.0, gt=0)
    daily_loss: float = Field(default=2_000.0, gt=0)
    """Quote currency; at this loss since the session's open trading halts and positions are flattened."""
    drawdown_steps: tuple[float, float, float] = (0.05, 0.10, 0.15)
    drawdown_scales: tuple[float, float, float] = (0.8, 0.5, 0.0)
    recover_margin: float = Field(default=0.02, gt=0)
    recover_ns: int = Field(default=1_800 * NS_PER_S, gt=0)
    on_halt: Literal["flatten", "hold"] = "flatten"
    max_notional: float | None = Field(default=None, gt=0)
    """Quote currency: gross value of all positions at their worst; None: no limit."""
    margin_rate: float = Field(default=0.0, ge=0, le=1)
    """Share of a position's value that it binds as margin; 0: none."""
    cash_reserve: float = Field(default=0.0, ge=0, lt=1)
    """Share of the session's opening equity that is never bound as margin."""
    confidence_floor: float = Field(default=0.0, ge=0, le=1)
    confidence_full: float = Field(default=0.0, ge=0, le=1)
    """Forecast probability of an order's direction at which nothing is sent, and from which on ``max_order_lots`` may be; in
    between the largest order grows in proportion. 0 and 0: sizes do not depend on it."""
    stop_loss_bps: float | None = Field(default=None, gt=0)
    """Basis points of the entry's value at which a position is closed; None: no stop."""
    trailing_stop_bps: float | None = Field(default=None, gt=0)
    """Basis points below the best mark since the entry at which a position is closed; None: no stop."""
    stop_cooldown_ns: int = Field(default=60 * NS_PER_S, ge=0)
    """How long a stop keeps new positions of the instrument out, from when it is flat."""
    anomaly_threshold: float | None = Field(default=None, ge=0)
    """Anomaly score of an instrument from which on its orders are throttled; None: never."""
    anomaly_size_scale: float = Field(default=0.5, ge=0, le=1)
    anomaly_rate_scale: float = Field(default=0.5, ge=0, le=1)
    """Shares of an order's size and of the order rate that pass while they are."""
    dead_man_ns: int = Field(default=0, ge=0)
    """Longest silence between heartbeats before everything that rests is cancelled; 0: no heartbeats are expected."""

    @model_validator(mode="after")
    def _confidence_grows(self) -> "RiskSettings":
        if (self.confidence_floor, self.confidence_full) != (0, 0) and self.confidence_full <= self.confidence_floor:
            raise ValueError("confidence_full must lie above confidence_floor")
        if self.cash_reserve > 0 and self.margin_rate == 0:
            raise ValueError("a cash_reserve needs a margin_rate above 0: without margin no cash is ever bound")
        return self


class ShabbatSettings(Section):
    """A weekly rest from candle lighting on Friday to nightfall on Saturday, by the sun at a place (W37)."""

    latitude: float = Field(ge=-66, le=66)
    longitude: float = Field(ge=-180, le=180)
    time_zone: ZoneName
    """Of the place: Fridays are counted there."""
    candle_minutes: float = Field(default=18.0, ge=0, le=120)
    """Minutes before sunset at which it begins."""
    nightfall_degrees: float = Field(default=8.5, gt=0, lt=18)
    """How far below the horizon the sun is when it ends."""


class PauseSettings(Section):
    """When nothing is traded, in backtest, paper and live alike."""

    policy: Literal["hold", "flatten"] = "hold"
    """What happens to positions when a pause begins; resting orders are always cancelled."""
    lead_s: float = Field(default=60.0, ge=0, le=3_600)
    """Seconds before a window at which the pause begins, so that cancels and exits are done in time."""
    shabbat: ShabbatSettings | None = None
    maintenance: tuple[MaintenanceWindow, ...] = ()
    dates: tuple[date, ...] = ()
    """Whole days, in the root's time zone."""


class GateSettings(Section):
    """What a candidate has to show before it may be promoted; rule by rule in docs/decisions."""

    p_value: float = Field(default=0.01, gt=0, lt=1)
    min_test_days: int = Field(default=5, ge=1)
    min_round_trips: int = Field(default=200, ge=1)
    min_positive_day_share: float = Field(default=0.6, ge=0, le=1)
    bootstrap_replications: int = Field(default=1_000, ge=100)
    n0_shifts: int = Field(default=200, ge=0)
    clock_ns: int = Field(default=60 * NS_PER_S, gt=0)


class ControlsSettings(Section):
    """Small control worlds that a night runs beside the shifts of its own tape: null and planted ones in turn."""

    worlds_per_night: int = Field(default=4, ge=0)
    """0: none."""
    processes: int = Field(default=0, ge=0)
    """Worlds at a time, each in a process of its own; 0: as many as there are cores and memory for; 1: in the night's own."""


class Settings(Section):
    """All settings of one data root."""

    source: SourceName
    data: Path | None = None
    """Folder of the recorded data; None for the simulated source."""
    calendar: str
    time_zone: str
    start_date: date
    sessions: int = Field(ge=1, le=9_999)
    """Sessions from ``start_date`` that the partition grids span."""
    first_night: int = Field(default=1, ge=1)
    instruments: tuple[Instrument, ...]
    queue_model: str = Field(default="risk_averse", min_length=1)
    """Queue model of the simulated venue where a command names none: ``risk_averse``, ``probabilistic``, ``log``, ``optimistic``,
    ``fifo``, ``power:N``, or ``path.py:name``. A band runs its own."""
    sentiment_model: Path | None = None
    """Folder of a local FinBERT-like text classifier; None: the built-in lexicon scores posts."""
    simulator: SimulatorSettings = SimulatorSettings()
    sampling: SamplingSettings = SamplingSettings()
    label: LabelSettings = LabelSettings()
    latency: LatencySettings = LatencySettings()
    training: TrainingSettings = TrainingSettings()
    strategy: StrategySettings = StrategySettings()
    risk: RiskSettings = RiskSettings()
    gate: GateSettings = GateSettings()
    controls: ControlsSettings = ControlsSettings()
    pauses: PauseSettings = PauseSettings()
    sizing: SizingSettings = SizingSettings()
    venues: Annotated[dict[str, VenueSettings], AfterValidator(Venues)] = Field(default_factory=Venues)
    """By the instruments' ``venue``: fees, funding, impact, latency, downtime and halts of its own."""

    @model_validator(mode="after")
    def _venues_are_traded(self) -> "Settings":
        known = sorted({item.venue for item in self.instruments})
        for name in self.venues:
            if name not in known:
                raise ValueError(f"venues.{name}: no instrument trades there; there are {', '.join(known)}")
        return self

    def market_calendar(self) -> Calendar:
        """Return the calendar of this root."""
        return Calendar(self.calendar, self.time_zone)

    def instrument(self, symbol: str) -> Instrument:
        """Return an instrument by symbol.

        Raises
        ------
        SettingsError
            If there is none of that symbol.
        """
        for item in self.instruments:
            if item.symbol == symbol:
                return item
        known = ", ".join(item.symbol for item in self.instruments)
        raise SettingsError(f"unknown instrument {symbol!r}; this data root has {known}")


def load_settings(path: Path) -> Settings:
    """Return the settings in a TOML file.

    Raises
    ------
    SettingsError
        If the file is missing, is no TOML, or a field is unknown or wrong; the message names file and field.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); run `flowsense init` first") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not valid TOML: {error}") from error
    settings = validate_settings(values, str(path))
    own = tuple(path.parent.absolute() / file for file in settings.sampling.own)
    if own != settings.sampling.own:
        settings = settings.model_copy(update={"sampling": settings.sampling.model_copy(update={"own": own})})
    return settings


def validate_settings(values: dict[str, object], origin: str) -> Settings:
    """Return validated settings; ``origin`` names the file in errors.

    Raises
    ------
    SettingsError
        Naming the first wrong field.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{origin}: {_first_fault(error)}") from error


def _first_fault(error: ValidationError) -> str:
    """Return the first wrong field and what is wrong with it."""
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    told = (
        "there is no such setting" if first["type"] == "extra_forbidden" else first["msg"].removeprefix("Value error, ")
    )
    return f"{field}: {told}" if field else told


def validate_instrument(symbol: str, values: object, origin: str) -> Instrument:
    """Return an instrument of a venue's symbol as a file states it; ``origin`` names the file in errors.

    The symbol may hold signs that names cannot; ``symbol``, ``instrument_id`` and ``venue`` are given later.

    Raises
    ------
    SettingsError
        Naming the first wrong field.
    """
    if not isinstance(values, dict):
        raise SettingsError(f"{origin}: {symbol}: not a table of an instrument's fields")
    try:
        return Instrument.model_validate({"symbol": "named-later", "instrument_id": 0, "venue": "", **values})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{origin}: {symbol}.{field}: {first['msg']}") from error


def save_settings(settings: Settings, path: Path) -> None:
    """Write the settings as TOML, whole or not at all."""
    values = settings.model_dump(mode="json", exclude_none=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(tomli_w.dumps(values), encoding="utf-8")
    os.replace(temporary, path)
