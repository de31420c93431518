"""Sections of the settings about a venue's own rules: fees, funding, impact, downtime, latency; all of them optional."""

from datetime import time
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0, le=1)]


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(f"unknown time zone {name!r}") from error
    return name


ZoneName = Annotated[str, AfterValidator(_known_zone)]
"""Name of a time zone as in ``America/New_York``."""


class Section(BaseModel):
    """A table of the settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MaintenanceWindow(Section):
    """A window that comes back every day, or on one day of the week, at a local time."""

    start: time
    minutes: float = Field(gt=0, le=24 * 60)
    time_zone: ZoneName
    weekday: Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"] | None = None
    """None: every day."""


class FeeTierSettings(Section):
    """Fees from a traded volume of the last thirty days on; a negative maker fee is a rebate."""

    from_volume: float = Field(ge=0)
    """Quote currency; the first tier starts at 0."""
    maker_ppm: int
    taker_ppm: int


class FeeSettings(Section):
    """A venue's fee schedule, in place of the instruments' own fees."""

    tiers: tuple[FeeTierSettings, ...] = Field(min_length=1)
    per_trade: float = Field(default=0.0, ge=0)
    """Quote currency a fill, whatever its size."""
    volume: float = Field(default=0.0, ge=0)
    """Quote currency that the account trades there in thirty days beside what this root trades: counts towards the tier."""

    @model_validator(mode="after")
    def _tiers_ascend(self) -> "FeeSettings":
        volumes = [tier.from_volume for tier in self.tiers]
        if volumes[0] != 0.0 or volumes != sorted(set(volumes)):
            raise ValueError("fee tiers start at from_volume 0 and ascend")
        return self


class FundingSettings(Section):
    """Funding of perpetuals: at local times, longs pay shorts a rate of the position's value (negative: the other way)."""

    rate_bps: float = Field(ge=-500, le=500)
    times: tuple[time, ...] = Field(min_length=1)
    time_zone: ZoneName = "UTC"


class ImpactSettings(Section):
    """Square-root impact of taking: coefficient times the root of the order's share of a day's volume."""

    coefficient_bps: float = Field(gt=0)
    daily_lots: int = Field(ge=1)


class ConstantLeg(Section):
    """Always the same latency."""

    form: Literal["constant"]
    ns: int = Field(ge=0)


class QuantileLeg(Section):
    """Drawn from an empirical distribution, given by its quantiles at equally spaced probabilities from 0 to 1."""

    form: Literal["quantiles"]
    ns: tuple[int, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _ascend(self) -> "QuantileLeg":
        if self.ns[0] < 0 or list(self.ns) != sorted(self.ns):
            raise ValueError("quantiles are not negative and ascend")
        return self


LegSettings = Annotated[ConstantLeg | QuantileLeg, Field(discriminator="form")]


class VenueLatencySettings(Section):
    """A venue's latencies by action, or those of recorded orders; what is left out is as the section ``latency`` has it."""

    new: LegSettings | None = None
    cancel: LegSettings | None = None
    modify: LegSettings | None = None
    answer: LegSettings | None = None
    triples: Path | None = None
    """CSV of recorded orders with the columns ``sent_ns, venue_ns, answered_ns``, in place of the four legs."""
    triples_as: Literal["recorded", "quantiles"] = "recorded"
    """Whether a latency is interpolated between recorded ones in time, or drawn from their distribution."""
    seed: int = Field(default=1, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> "VenueLatencySettings":
        if self.triples is not None and any((self.new, self.cancel, self.modify, self.answer)):
            raise ValueError("latencies come from triples or from new, cancel, modify and answer, not from both")
        return self


class VenueSettings(Section):
    """What one venue has of its own, in backtest and paper alike."""

    fees: FeeSettings | None = None
    funding: FundingSettings | None = None
    impact: ImpactSettings | None = None
    latency: VenueLatencySettings | None = None
    downtime: tuple[MaintenanceWindow, ...] = ()
    """Windows in which everything sent there is refused."""
    on_downtime: Literal["cancel", "keep"] = "cancel"
    """What happens to resting orders when one begins."""
    on_halt: Literal["keep", "cancel"] = "keep"
    """What happens to resting orders when the tape says that trading halts."""


class Venues(dict[str, VenueSettings]):
    """Venues' sections by name; never changed once made, so that settings can be the key of what was computed with them."""

    def __hash__(self) -> int:  # type: ignore[override]  # a dictionary has none; this one is not changed
        return hash(frozenset(self.items()))


class SizingSettings(Section):
    """How much of an order's size passes in a session, from what the sessions before it were like."""

    volatility_target: float | None = Field(default=None, gt=0, lt=1)
    """Relative move of a session that sizes are cut down to: target over realised volatility, at most 1, by instrument. None:
    sizes do not depend on it. An instrument without any stored session behind it trades one lot for an order until it has one."""
    volatility_sessions: int = Field(default=5, ge=1)
    """Sessions at most whose realised variance is averaged."""
    regime_shares: tuple[Share, Share, Share] | None = None
    """Shares of a bet in the calmest, the middle and the wildest regime of the fold's fit, each at most 1; what is bet is their
    mean over the filtered probabilities. None: bets do not depend on the regime."""
