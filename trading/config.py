"""What an engine is: session, instruments, latencies, limits, strategy and fill model, frozen and hashed."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from marketdata.clock import NS_PER_MS, NS_PER_S, Session
from marketdata.instruments import BookKind, Instrument
from marketdata.settings import LatencySettings, RiskSettings, Settings
from trading.carried import CarriedOver, nothing_carried, size_controls
from trading.configured_venues import calendar_controls, venue_rules
from trading.controls import ControlArray, no_controls
from trading.hooks import QueueModel, fee_ppm, find_queue_model
from trading.ledger import to_nanos
from trading.risk import fill_risk_parameters
from trading.state import (
    K_COUNT,
    K_ID,
    K_MAKER_PPM,
    K_PASSIVE,
    K_TAKER_PPM,
    K_TICK,
    K_TRADED,
    K_UNIT_NANOS,
    P_CLOCK_NS,
    P_CLOSE_NS,
    P_COLLAR_PPM,
    P_COUNT,
    P_DAILY_LOSS,
    P_DECISION_NS,
    P_ENDING_NS,
    P_FLATTEN_ON_HALT,
    P_MARGIN_PPM,
    P_MAX_ORDER,
    P_OPEN_NS,
    P_PYTHON,
    P_QUEUE_BY_ID,
    P_RECOVER_NS,
    P_SCALE_PPM,
    P_STEP_PPM,
    P_TRACK_TOP,
    P_WAKE_MASK,
    EngineParameters,
)
from trading.strategies import Strategy, taker
from trading.venue_rules import VenueRules, downtime_table, fill_venue_parameters, venue_latencies

ENDING_NS: Final = 15 * NS_PER_S
"""The last seconds of a session, in which everything is flattened, begin this long before its close."""
ENTRY_RESERVE: Final = 30 * NS_PER_S
"""Time left for leaving after the last entry has run its horizon."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """The frozen description of one engine.

    Attributes
    ----------
    instruments : tuple of Instrument
        In the order of their slots.
    latency : LatencySettings
        ``inference_ns`` is already in a forecast's ``due_ns``; the engine adds decision, order and response latency.
    ending_ns : int
        When positions are flattened before the session's close.
    clock_ns : int
        Period of the account marks, from the session's open on.
    feed_bound_ns : int
        Longest time that a market row may take to reach us: how far the engine stays behind the receive watermark.
    capital : float
        Quote currency at the session's open, when no account is carried over.
    pauses : control array
        What is known before the session: pauses and resumptions of the calendar, funding, sizes from earlier sessions. The engine
        obeys it beside the controls it is given.
    rules : mapping of str to VenueRules
        What venues have of their own (latencies, fees, impact, downtime), by the instruments' ``venue``. One instrument on
        several venues is several instruments here: own id, book, fees and position each.
    """

    session: Session
    instruments: tuple[Instrument, ...]
    latency: LatencySettings
    risk: RiskSettings
    strategy: Strategy
    queue: QueueModel
    capital: float
    clock_ns: int
    ending_ns: int
    feed_bound_ns: int
    book_levels: int = 2_048
    fee: Any = fee_ppm
    pauses: ControlArray = field(default_factory=no_controls, compare=False)
    rules: Mapping[str, VenueRules] = field(default_factory=dict)

    def fingerprint(self) -> str:
        """Return a hash of everything that decides what this engine does with given events."""
        parts = (
            self.session,
            self.instruments,
            self.latency,
            self.risk,
            (self.strategy.name, self.strategy.wake_mask, tuple(self.strategy.ints), tuple(self.strategy.floats)),
            self.strategy.tracks_top,
            (self.queue.name, self.queue.parameters),
            sorted(self.rules.items()),
            (self.capital, self.clock_ns, self.ending_ns, self.book_levels, self.fee.__name__),
            self.pauses.tobytes(),
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def parameters(self) -> EngineParameters:
        """Return the arrays that the kernel reads."""
        ints = np.zeros(P_COUNT, np.int64)
        ints[P_DECISION_NS] = self.latency.decision_ns
        ints[P_OPEN_NS], ints[P_CLOSE_NS] = self.session.open_ns, self.session.close_ns
        ints[P_ENDING_NS], ints[P_CLOCK_NS] = self.ending_ns, self.clock_ns
        ints[P_MAX_ORDER] = self.risk.max_order_lots
        ints[P_DAILY_LOSS] = to_nanos(self.risk.daily_loss)
        ints[P_STEP_PPM : P_STEP_PPM + 3] = [round(step * 1e6) for step in self.risk.drawdown_steps]
        ints[P_SCALE_PPM] = 1_000_000
        ints[P_SCALE_PPM + 1 : P_SCALE_PPM + 4] = [round(scale * 1e6) for scale in self.risk.drawdown_scales]
        ints[P_MARGIN_PPM], ints[P_RECOVER_NS] = round(self.risk.recover_margin * 1e6), self.risk.recover_ns
        ints[P_FLATTEN_ON_HALT] = int(self.risk.on_halt == "flatten")
        ints[P_WAKE_MASK] = self.strategy.wake_mask
        ints[P_QUEUE_BY_ID] = int(self.queue.by_id)
        ints[P_COLLAR_PPM] = round(self.risk.price_collar_bps * 100)
        ints[P_PYTHON] = int(not self.strategy.is_compiled)
        ints[P_TRACK_TOP] = int(self.strategy.tracks_top)
        fill_risk_parameters(ints, self.risk)
        inst = np.zeros((len(self.instruments), K_COUNT), np.int64)
        slot_of = np.full(max(i.instrument_id for i in self.instruments) + 1, -1, np.int64)
        for slot, item in enumerate(self.instruments):
            slot_of[item.instrument_id] = slot
            inst[slot, K_ID], inst[slot, K_UNIT_NANOS] = item.instrument_id, item.unit_nanos
            inst[slot, K_TICK] = item.tick_units
            inst[slot, K_MAKER_PPM], inst[slot, K_TAKER_PPM] = item.fees.maker_ppm, item.fees.taker_ppm
            inst[slot, K_PASSIVE] = int(item.book_kind is BookKind.MATCHING)
            inst[slot, K_TRADED] = int(item.is_traded)
        fill_venue_parameters(inst, self.instruments, self.rules)
        return EngineParameters(
            ints,
            inst,
            slot_of,
            np.array(self.queue.parameters, np.float64),
            np.array(self.strategy.ints if len(self.strategy.ints) else (0,), np.int64),
            np.array(self.strategy.floats if len(self.strategy.floats) else (0.0,), np.float64),
            *venue_latencies(self.instruments, self.rules, self.latency),
            downtime_table(self.instruments, self.rules),
        )


def known_before(
    settings: Settings, session: Session, carried: CarriedOver, instruments: tuple[Instrument, ...] | None = None
) -> ControlArray:
    """Return the controls of a session that are known before it, by time: sizes, pauses, funding.

    Those of instruments that an engine does not hold (``instruments``; default: all of the settings) are left out: an engine
    would take what it does not know for all that it has.
    """
    joined: ControlArray = np.concatenate(
        [size_controls(settings, session, carried), calendar_controls(settings, session)]
    )
    held = [-1, *(item.instrument_id for item in (settings.instruments if instruments is None else instruments))]
    own = joined[np.isin(joined["instrument_id"], held)]
    ordered: ControlArray = own[np.argsort(own["due_ns"], kind="stable")]
    return ordered


def scale_latency(latency: LatencySettings, factor: float) -> LatencySettings:
    """Return the latencies times ``factor``, but the feed's: that one is in the data."""
    names = ("inference_ns", "decision_ns", "order_ns", "response_ns")
    return latency.model_copy(update={name: round(getattr(latency, name) * factor) for name in names})


def last_entry_ns(settings: Settings, session: Session) -> int:
    """Return the receive time after which no row opens a position: one horizon and half a minute before the close."""
    return session.close_ns - settings.label.horizon_ns - ENTRY_RESERVE


def taker_strategy(settings: Settings, session: Session, *, edge_margin: float | None = None) -> Strategy:
    """Return the taker of the settings for a session."""
    chosen = settings.strategy
    return taker(
        horizon_ns=settings.label.horizon_ns,
        order_lots=min(chosen.order_lots, chosen.max_position_lots),
        last_entry_ns=last_entry_ns(settings, session),
        margin=chosen.edge_margin if edge_margin is None else edge_margin,
        fraction=chosen.kelly_fraction,
        capital=chosen.capital,
    )


def _chosen_strategy(settings: Settings, session: Session, edge_margin: float | None) -> Strategy:
    """Return the strategy of the settings; a margin is the taker's."""
    if edge_margin is not None or settings.strategy.name == "taker":
        return taker_strategy(settings, session, edge_margin=edge_margin)
    from trading.strategy_catalog import find_strategy  # it imports this module

    return find_strategy(settings.strategy.name, settings.strategy.parameters)(settings, session)


def engine_config(
    settings: Settings,
    session: Session,
    *,
    queue_model: str | None = None,
    latency_scale: float = 1.0,
    strategy: Strategy | None = None,
    edge_margin: float | None = None,
    instruments: tuple[Instrument, ...] | None = None,
    rules: Mapping[str, VenueRules] | None = None,
    carried: CarriedOver | None = None,
) -> EngineConfig:
    """Return the engine of a data root for one session.

    Parameters
    ----------
    queue_model : str, optional
        What :func:`trading.hooks.find_queue_model` understands; default: that of the settings.
    latency_scale : float
        Factor on decision, order and response latency, a venue's own ones too. A forecast's inference latency is in its
        ``due_ns``; the caller that varies it shifts the forecasts.
    strategy : Strategy, optional
        In place of that of the settings.
    edge_margin : float, optional
        The taker with this margin, in place of the strategy of the settings.
    instruments : tuple of Instrument, optional
        In place of all instruments of the settings.
    rules : mapping of str to VenueRules, optional
        What venues have of their own, in place of the settings' ``venues``.
    carried : CarriedOver, optional
        What earlier sessions left: volumes that decide fee tiers, volatilities that decide sizes; default: nothing.

    Raises
    ------
    SettingsError
        If the queue model is unknown, or a file that the settings name cannot be read.
    """
    left = nothing_carried() if carried is None else carried
    latency = scale_latency(settings.latency, latency_scale)
    return EngineConfig(
        session=session,
        instruments=settings.instruments if instruments is None else instruments,
        latency=latency,
        risk=settings.risk,
        strategy=strategy or _chosen_strategy(settings, session, edge_margin),
        queue=find_queue_model(settings.queue_model if queue_model is None else queue_model),
        capital=settings.strategy.capital,
        clock_ns=settings.gate.clock_ns,
        ending_ns=session.close_ns - ENDING_NS,
        feed_bound_ns=max(20 * latency.feed_ns, 2 * (latency.feed_ns + latency.feed_jitter_ns), 100 * NS_PER_MS),
        pauses=known_before(settings, session, left, instruments),
        rules=venue_rules(settings, session, volumes=left.volumes, latency_scale=latency_scale)
        if rules is None
        else rules,
    )
