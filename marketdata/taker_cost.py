"""What a taker pays at a venue beside the spread: the one answer for labels, screen, gate, router and arbitrage monitor.

The engine picks its tier by the same :func:`reached_tier`, at the volume that was carried into the session.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from marketdata.instruments import Fees, Instrument
from marketdata.settings import Settings
from marketdata.venue_settings import FeeSettings


class Tier(Protocol):
    """Anything that holds from a volume on."""

    @property
    def from_volume(self) -> float:
        """Quote currency of thirty days."""
        ...


T = TypeVar("T", bound=Tier)


@dataclass(frozen=True, slots=True)
class TakerCost:
    """Fees of one side of a taker's trade in one instrument.

    Attributes
    ----------
    taker_ppm : int
        Of the notional.
    trade_nanos : int
        A fill, whatever its size, in 1e-9 of the quote currency.
    lots : int
        Lots that share the amount a fill: those of an order of the strategy.
    unit_nanos : int
        Value of a price unit of a lot.
    """

    taker_ppm: int
    trade_nanos: int
    lots: int
    unit_nanos: int

    @property
    def trade_units(self) -> float:
        """The amount a fill as a move of the price of each lot, in price units."""
        return self.trade_nanos / (self.lots * self.unit_nanos)

    @classmethod
    def of(cls, settings: Settings, item: Instrument, *, traded: float = 0.0) -> "TakerCost":
        """Return what a taker of these settings pays.

        Parameters
        ----------
        traded : float
            Quote currency that this root traded at the instrument's venue in the thirty days before the session, beside the
            ``volume`` that the venue's section states. 0 for what must not depend on what was traded before: labels.
        """
        lots = max(min(settings.strategy.order_lots, settings.strategy.max_position_lots), 1)
        schedule = fee_schedule(settings, item)
        nanos = 0 if schedule is None else round(schedule.per_trade * 1e9)
        return cls(venue_fees(settings, item, traded=traded).taker_ppm, nanos, lots, item.unit_nanos)


def fee_schedule(settings: Settings, item: Instrument) -> FeeSettings | None:
    """Return the schedule of an instrument's venue; None where the instrument's own fees hold."""
    venue = settings.venues.get(item.venue)
    return None if venue is None else venue.fees


def venue_fees(settings: Settings, item: Instrument, *, traded: float = 0.0) -> Fees:
    """Return maker and taker fee of an instrument at its venue, at the account's volume; ``traded`` as in :class:`TakerCost`."""
    schedule = fee_schedule(settings, item)
    if schedule is None:
        return item.fees
    tier = reached_tier(schedule.tiers, schedule.volume + traded)
    return Fees(maker_ppm=tier.maker_ppm, taker_ppm=tier.taker_ppm)


def at_venue_fees(settings: Settings, item: Instrument) -> Instrument:
    """Return the instrument with its venue's fees in place of its own; itself where the venue has no schedule."""
    fees = venue_fees(settings, item)
    return item if fees == item.fees else item.model_copy(update={"fees": fees})


def reached_tier(tiers: Sequence[T], volume: float) -> T:
    """Return the last tier that a volume of thirty days reaches; tiers ascend from 0."""
    return [tier for tier in tiers if tier.from_volume <= volume][-1]
