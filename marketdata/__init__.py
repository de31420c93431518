"""Floor 0, what happened: events, instruments, clocks, books, feeds, codecs, stores, validation, the simulated market."""

from marketdata.environment import configure as _configure

_configure()
