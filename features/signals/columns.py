"""Names of the slow signals, written out: what each kind adds to a row, and which source has which kinds."""

from typing import Final

from marketdata.settings import SourceName

SIGNAL_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "options": ("options_unusual_score", "options_volume_imbalance", "options_skew", "options_atm_iv"),
    "social": ("social_sentiment", "social_attention"),
    "onchain": ("onchain_flow_ratio", "onchain_flow_z"),
}
"""Columns of each kind of signal frame, beside ``ts_known`` and ``symbol``."""

SLOW_KINDS: Final[dict[SourceName, tuple[str, ...]]] = {
    "simulated": ("options", "social", "onchain"),
    "lobster": (),
    "lean_equity": (),
    "crypto_2026": ("options", "social", "onchain"),
    "recorded": (),
}
"""Kinds of slow signals each source has; a kind that a source lacks adds no columns."""
