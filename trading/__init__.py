"""Floor 3, what we do: orders, ledger, risk, sizing, strategies, the simulated venue, the engine, the journal."""

import marketdata as marketdata
