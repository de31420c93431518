"""What differs from venue to venue: latencies, fees, impact, downtime, halts; all of it optional, by the venue's name."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from marketdata.instruments import Fees, Instrument
from marketdata.settings import LatencySettings
from marketdata.taker_cost import reached_tier
from trading.latency import LatencyModel, latency_tables
from trading.ledger import to_nanos
from trading.state import (
    K_DAILY_LOTS,
    K_DOWN_CANCELS,
    K_HALT_CANCELS,
    K_IMPACT_PPM,
    K_MAKER_PPM,
    K_TAKER_PPM,
    K_TRADE_FEE,
    Int64,
)

VOLUME_DAYS: Final = 30
"""Days before a session whose volume decides its fee tier."""


@dataclass(frozen=True, slots=True)
class FeeTier:
    """Fees from a traded volume of the last thirty days on, in quote currency."""

    from_volume: float
    maker_ppm: int
    taker_ppm: int


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """A venue's fees: tiers by volume, and an amount for every fill.

    The tier of a session is that of the thirty days before it and does not change during it, as venues count once a day.

    Attributes
    ----------
    tiers : tuple of FeeTier
        Ascending, the first from 0.
    per_trade : float
        Quote currency a fill, whatever its size.
    """

    tiers: tuple[FeeTier, ...]
    per_trade: float = 0.0

    def __post_init__(self) -> None:
        volumes = [tier.from_volume for tier in self.tiers]
        if not volumes or volumes[0] != 0.0 or volumes != sorted(set(volumes)):
            raise ValueError("fee tiers start at volume 0 and ascend")

    def fees(self, volume: float) -> Fees:
        """Return the fees of the tier that a volume of thirty days reaches."""
        reached = reached_tier(self.tiers, volume)
        return Fees(maker_ppm=reached.maker_ppm, taker_ppm=reached.taker_ppm)


def volume_before(day: date, traded: Mapping[date, float]) -> float:
    """Return the volume of the thirty days before ``day``, that day not included; ``traded`` is quote currency by day."""
    first = day - timedelta(days=VOLUME_DAYS)
    return math.fsum(volume for when, volume in traded.items() if first <= when < day)


@dataclass(frozen=True, slots=True)
class SquareRootImpact:
    """What taking costs beyond the visible book: price x coefficient x sqrt(order's lots / daily lots), against the taker.

    Every fill of the order pays it on its price, rounded up to a whole price unit, beyond the order's limit if need be: a limit
    protects against the tape, not against the market's answer to us. Resting orders pay none.

    References
    ----------
    Toth, Lemperiere, Deremble, de Lataillade, Kockelkoren, Bouchaud (2011). Anomalous price impact and the critical nature of
    liquidity in financial markets. Physical Review X 1, 021006.
    """

    coefficient_bps: float
    daily_lots: int


@dataclass(frozen=True, slots=True)
class VenueRules:
    """What a venue has of its own.

    Attributes
    ----------
    latency : LatencyModel, optional
        In place of the settings' constants.
    fees : FeeSchedule, optional
        In place of the instrument's fees.
    volume : float
        Quote currency traded there in the thirty days before the session: decides the tier.
    impact : SquareRootImpact, optional
    downtime : tuple of (start_ns, end_ns)
        Half-open windows in which everything sent is refused, ordered, apart.
    on_downtime : {"cancel", "keep"}
        What happens to resting orders when one begins. Kept ones go on filling, and their answers still reach us.
    on_halt : {"keep", "cancel"}
        What happens to resting orders when the tape says that trading halts.
    """

    latency: LatencyModel | None = None
    fees: FeeSchedule | None = None
    volume: float = 0.0
    impact: SquareRootImpact | None = None
    downtime: tuple[tuple[int, int], ...] = ()
    on_downtime: Literal["cancel", "keep"] = "cancel"
    on_halt: Literal["keep", "cancel"] = "keep"

    def __post_init__(self) -> None:
        edges = [edge for window in self.downtime for edge in window]
        if edges != sorted(edges) or any(start == end for start, end in self.downtime):
            raise ValueError("downtime windows are ordered, apart, and none is empty")


PLAIN: Final = VenueRules()


def fill_venue_parameters(inst: Int64, instruments: tuple[Instrument, ...], rules: Mapping[str, VenueRules]) -> None:
    """Write fees, impact and policies into the parameters of each instrument."""
    for slot, item in enumerate(instruments):
        own = rules.get(item.venue, PLAIN)
        if own.fees is not None:
            fees = own.fees.fees(own.volume)
            inst[slot, K_MAKER_PPM], inst[slot, K_TAKER_PPM] = fees.maker_ppm, fees.taker_ppm
            inst[slot, K_TRADE_FEE] = to_nanos(own.fees.per_trade)
        if own.impact is not None:
            inst[slot, K_IMPACT_PPM] = round(own.impact.coefficient_bps * 100)
            inst[slot, K_DAILY_LOTS] = own.impact.daily_lots
        inst[slot, K_HALT_CANCELS] = int(own.on_halt == "cancel")
        inst[slot, K_DOWN_CANCELS] = int(own.on_downtime == "cancel")


def venue_latencies(
    instruments: tuple[Instrument, ...], rules: Mapping[str, VenueRules], latency: LatencySettings
) -> tuple[Int64, Int64]:
    """Return the latency tables of all instruments (``trading.latency.latency_tables``)."""
    default = LatencyModel.constant(latency.order_ns, latency.response_ns)
    return latency_tables([rules.get(item.venue, PLAIN).latency or default for item in instruments])


def downtime_table(instruments: tuple[Instrument, ...], rules: Mapping[str, VenueRules]) -> npt.NDArray[np.int64]:
    """Return every downtime window as (start, end, slot), by start, shape (n, 3)."""
    windows = [
        (start, end, slot)
        for slot, item in enumerate(instruments)
        for start, end in rules.get(item.venue, PLAIN).downtime
    ]
    return np.array(sorted(windows), np.int64).reshape(-1, 3)
