"""The venues whose frames we read, written out: a new venue is one file and one line here (``docs/venues.md``)."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Protocol

from marketdata.codecs import (
    binance,
    bitmex,
    bitstamp,
    bitstamp_orders,
    bybit,
    coinbase,
    deribit_frames,
    gemini,
    hyperliquid,
    kraken,
    kraken_futures,
    okx,
)
from marketdata.codecs.decimals import OffGrid, inferred_instrument, places_of
from marketdata.codecs.dialect import Dialect, DialectCodec
from marketdata.frames import QUARANTINE, FrameBatch, FrameCodec
from marketdata.instruments import Instrument


class VenueCodec(FrameCodec, Protocol):
    """A codec that can also say which numbers its frames hold, before any grid is known."""

    def iter_numbers(self, batch: FrameBatch) -> Iterator[tuple[str, str, str]]:
        """Yield (symbol, price, size) as written, of every level and trade; frames that cannot be read yield nothing."""
        ...


Builder = Callable[[Mapping[str, Instrument], str], VenueCodec]


def _of(dialect: Dialect) -> Builder:
    """Return the builder of a venue that is read frame by frame."""
    return lambda instruments, policy: DialectCodec(dialect, instruments, policy)


VENUES: Final[Mapping[str, Builder]] = {
    "binance_spot": lambda instruments, policy: binance.BinanceCodec(binance.SPOT, instruments, policy),
    "binance_usdm": lambda instruments, policy: binance.BinanceCodec(binance.USDM, instruments, policy),
    "binance_coinm": lambda instruments, policy: binance.BinanceCodec(binance.COINM, instruments, policy),
    "coinbase": _of(coinbase.Coinbase()),
    "kraken": _of(kraken.Kraken()),
    "kraken_futures": _of(kraken_futures.KrakenFutures()),
    "bybit": _of(bybit.Bybit()),
    "okx": _of(okx.Okx()),
    "bitstamp": _of(bitstamp.Bitstamp()),
    "bitstamp_l3": bitstamp_orders.BitstampOrders,
    "bitmex": _of(bitmex.Bitmex()),
    "deribit": _of(deribit_frames.Deribit()),
    "gemini": _of(gemini.Gemini()),
    "hyperliquid": _of(hyperliquid.Hyperliquid()),
}
"""Every venue: its name, and how its codec is built from instruments (by the venue's symbol) and a policy."""


class UnknownVenue(KeyError):
    """There is no venue of that name; the message lists those there are."""

    def __str__(self) -> str:
        """Return the message as it is."""
        return str(self.args[0])


def build_codec(venue: str, instruments: Mapping[str, Instrument], policy: str) -> VenueCodec:
    """Return the codec of a venue.

    Raises
    ------
    UnknownVenue
        If there is none of that name.
    """
    if venue not in VENUES:
        raise UnknownVenue(f"unknown venue {venue!r}; there are {', '.join(VENUES)}")
    return VENUES[venue](instruments, policy)


def infer_grid(venue: str, batch: FrameBatch, first_id: int = 0) -> dict[str, Instrument]:
    """Return an instrument for each symbol of a recording, on the smallest decimal steps seen in it.

    The true grid can be finer than what a short recording shows; where a venue's instrument list is at hand, give its grid.

    Parameters
    ----------
    venue : str
        Name in :data:`VENUES`.
    batch : FrameBatch
        The recording, or enough of it.
    first_id : int
        Instrument id of the first symbol; symbols are in alphabetical order.
    """
    places: dict[str, tuple[int, int]] = {}
    for symbol, price, size in build_codec(venue, {}, QUARANTINE).iter_numbers(batch):
        seen = places.get(symbol, (0, 0))
        with suppress(OffGrid):  # no number at all: the codec will refuse the frame with this reason
            places[symbol] = (max(seen[0], places_of(price)), max(seen[1], places_of(size)))
    return {
        symbol: inferred_instrument(symbol, first_id + k, venue, float(f"1e-{price}"), float(f"1e-{size}"))
        for k, (symbol, (price, size)) in enumerate(sorted(places.items()))
    }
