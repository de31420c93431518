"""Parameters of the taker as plain values: one set is a strategy, a trial, and a point of a sweep."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from marketdata.clock import NS_PER_S, Session
from marketdata.settings import Settings
from models.training import strategy_trial
from trading.config import ENTRY_RESERVE
from trading.strategies import Strategy, taker

DEFAULT_EXTEND_SHARE: Final = 0.25
DEFAULT_EXIT_TICKS: Final = 20


@dataclass(frozen=True, slots=True)
class TakerParameters:
    """What the taker may be told: when to enter, how long to hold, when to leave, how much to bet.

    Attributes
    ----------
    edge_margin : float
        Share of the round trip's cost by which the edge must exceed it to enter.
    horizon_s : float
        Seconds that a position is held before it is left or extended.
    extend_share : float
        Share of the round trip's cost that the edge must still be to hold for another horizon.
    exit_ticks : int
        Ticks through the touch that an exit may pay.
    order_lots : int
        Lots of an entry at most.
    kelly_fraction : float
        Part of the growth-optimal bet that is taken.
    """

    edge_margin: float
    horizon_s: float
    extend_share: float = DEFAULT_EXTEND_SHARE
    exit_ticks: int = DEFAULT_EXIT_TICKS
    order_lots: int = 1
    kelly_fraction: float = 0.25

    def __post_init__(self) -> None:
        """Refuse values that no strategy can have.

        Raises
        ------
        ValueError
            Naming the field.
        """
        for name, least in (("edge_margin", 0.0), ("extend_share", 0.0), ("exit_ticks", 0), ("order_lots", 1)):
            if not getattr(self, name) >= least:
                raise ValueError(f"{name} is {getattr(self, name)}, at least {least:g} needed")
        if not self.horizon_s > 0 or not 0 < self.kelly_fraction <= 1:
            raise ValueError(f"horizon_s is {self.horizon_s}, kelly_fraction {self.kelly_fraction}: not above 0")

    @classmethod
    def of(cls, settings: Settings) -> "TakerParameters":
        """Return the parameters of a root's own taker."""
        chosen = settings.strategy
        lots = min(chosen.order_lots, chosen.max_position_lots)
        horizon_s = settings.label.horizon_ns / NS_PER_S
        return cls(chosen.edge_margin, horizon_s, order_lots=lots, kelly_fraction=chosen.kelly_fraction)

    @property
    def horizon_ns(self) -> int:
        """The holding in nanoseconds."""
        return round(self.horizon_s * NS_PER_S)

    def last_entry_ns(self, session: Session) -> int:
        """Return the receive time after which nothing is opened: a holding and half a minute before the close."""
        return session.close_ns - self.horizon_ns - ENTRY_RESERVE

    def strategy(self, settings: Settings, session: Session) -> Strategy:
        """Return the taker of a session; a ``StrategyFactory`` of the catalogue."""
        return taker(
            horizon_ns=self.horizon_ns,
            order_lots=self.order_lots,
            last_entry_ns=self.last_entry_ns(session),
            margin=self.edge_margin,
            fraction=self.kelly_fraction,
            capital=settings.strategy.capital,
            extend_share=self.extend_share,
            exit_ticks=self.exit_ticks,
        )

    def trial(self, settings: Settings) -> dict[str, Any]:
        """Return the ``strategy`` part of a trial: that of the settings where the parameters are the settings' own.

        What the settings cannot say (holding, extension, exit) is named only where it differs, so that the strategy of
        the settings is the same trial here and in the night.
        """
        found = strategy_trial(settings)
        own = TakerParameters.of(settings)
        found |= {"edge_margin": self.edge_margin, "kelly_fraction": self.kelly_fraction}
        if self.order_lots != own.order_lots:
            found["order_lots"] = self.order_lots
        for name in ("horizon_s", "extend_share", "exit_ticks"):
            if getattr(self, name) != getattr(own, name):
                found[name] = getattr(self, name)
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values by name."""
        return asdict(self)


AXES: Final = tuple(item.name for item in fields(TakerParameters))
"""Names of the parameters, in the order of their grid."""


def parameter_grid(base: TakerParameters, axes: Mapping[str, Sequence[float]]) -> tuple[TakerParameters, ...]:
    """Return every combination of some parameters' values, the others those of ``base``; ``base`` itself comes first.

    Raises
    ------
    ValueError
        If a name is no parameter, an axis is empty, or a value is out of range.
    """
    unknown = [name for name in axes if name not in AXES]
    if unknown or not all(len(values) for values in axes.values()):
        raise ValueError(f"axes {', '.join(axes)}: each must be one of {', '.join(AXES)} and hold a value")
    found = {base: None}
    for values in itertools.product(*axes.values()):
        chosen = {**asdict(base), **dict(zip(axes, values, strict=True))}
        chosen["exit_ticks"], chosen["order_lots"] = int(chosen["exit_ticks"]), int(chosen["order_lots"])
        found[TakerParameters(**chosen)] = None
    return tuple(found)
