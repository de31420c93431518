"""What is traded: grids, multipliers, fees and the kind of book an instrument has."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class BookKind(StrEnum):
    """How the book that we see comes about; it decides which invariants hold and which fills can be believed."""

    MATCHING = "matching"
    """One venue's order book: never crossed at the end of an event group; passive fills can be simulated."""
    NBBO = "nbbo"
    """Consolidated best quotes of several venues: crossed or locked at times; taker fills only."""
    DEALER = "dealer"
    """Dealer quotes: crossed at times; taker fills only."""
    BAR = "bar"
    """Bars with an assumed half-spread around open and close; taker fills only."""
    TRADES_ONLY = "trades_only"
    """No book at all: a predictor for others, never traded."""


class Fees(BaseModel):
    """Fees in parts per million of the notional (1 bp = 100 ppm); a negative maker fee is a rebate."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    maker_ppm: int = 0
    taker_ppm: int = 0


class Instrument(BaseModel):
    """One instrument of a data root.

    Attributes
    ----------
    symbol : str
        Name used in paths, partitions and pages.
    instrument_id : int
        Small number used in events; unique in a data root, from 0.
    unit_nanos : int
        Value of one ``price_unit`` of one lot in 1e-9 of the quote currency, multiplier and lot size included: the ledger
        adds ``price_units * size_lots * unit_nanos`` and stays exact.
    tick_units : int
        Price units to a tick; book prices are multiples of it.
    price_decimals : float
        Quote currency to a price unit, for showing prices (0.01 for cents).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    symbol: str = Field(pattern=r"^[A-Za-z0-9_.\-]+$")
    instrument_id: int = Field(ge=0, le=32_000)
    venue: str
    unit_nanos: int = Field(gt=0)
    tick_units: int = Field(default=1, gt=0)
    price_decimals: float = Field(gt=0)
    lot_size: float = Field(default=1.0, gt=0)
    book_kind: BookKind = BookKind.MATCHING
    fees: Fees = Fees()

    @property
    def is_traded(self) -> bool:
        """Whether the instrument has a book that orders can be sent to."""
        return self.book_kind is not BookKind.TRADES_ONLY


def instrument_name(symbol: str, venue: str) -> str:
    """Return the name of a venue's symbol in a ``recorded`` root: ``BTCUSDT.binance_spot``."""
    clean = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "-" for c in symbol)
    return f"{clean}.{venue}"
