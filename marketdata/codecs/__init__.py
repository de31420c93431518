"""Parsers: pure functions from a source's own rows to events or to slow raw frames. No sockets, no clocks, no state."""
