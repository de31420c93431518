"""Names of the slow signals, written out: what each kind adds to a row, and which source has which kinds."""

from typing import Final, NamedTuple

from marketdata.settings import SourceName


class SignalEntry(NamedTuple):
    """One slow signal: what the catalogue says of it.

    ``memory_days`` is how far back its value reaches, the session that it may be carried over counted in.
    """

    name: str
    unit: str
    formula: str
    memory_days: int
    reference: str = ""


PO_2006: Final = (
    "Pan, Poteshman (2006). The information in option volume for future stock prices. Rev. Fin. Studies 19(3)."
)
XZZ_2010: Final = "Xing, Zhang, Zhao (2010). What does the individual option volatility smirk tell us? JFQA 45(3)."
BTZ_2009: Final = (
    "Bollerslev, Tauchen, Zhou (2009). Expected stock returns and variance risk premia. Rev. Fin. Studies 22(11)."
)
BB_2020: Final = "Barbon, Buraschi (2020). Gamma fragility. University of St. Gallen working paper 2020/05."
AF_2004: Final = "Antweiler, Frank (2004). Is all that talk just noise? J. Finance 59(3)."
A_2019: Final = (
    "Araci (2019). FinBERT: financial sentiment analysis with pre-trained language models. arXiv 1908.10063."
)

SIGNALS: Final[dict[str, tuple[SignalEntry, ...]]] = {
    "options": (
        SignalEntry(
            "options_unusual_score", "1", "(calls - puts) / sum of unusual premium under 30 days to expiry", 31, PO_2006
        ),
        SignalEntry("options_volume_imbalance", "1", "(calls - puts) / sum of contracts traded", 2, PO_2006),
        SignalEntry("options_skew", "1", "implied volatility at 30 days, 25-delta call - put", 2, XZZ_2010),
        SignalEntry("options_atm_iv", "1", "implied volatility at the money, constant 30 days", 2),
        SignalEntry("options_unusual_share", "1", "unusual over all premium under 30 days to expiry", 31),
        SignalEntry("options_interest_imbalance", "1", "(calls - puts) / sum of open contracts, as published", 2),
        SignalEntry(
            "options_interest_change",
            "1",
            "(change of open calls - of puts since the session before) / all open then",
            3,
        ),
        SignalEntry("options_butterfly", "1", "mean of the 25-delta volatilities - at the money, 30 days", 2),
        SignalEntry("options_term_slope", "1", "slope of at-the-money volatility on log(days / 30)", 2),
        SignalEntry("options_term_curvature", "1", "coefficient of log(days / 30) squared in a parabola of it", 2),
        SignalEntry(
            "options_gamma_ratio",
            "1",
            "dealers' gamma, + calls - puts, Σ ± OI Γ S² / Σ OI Γ S²: an estimate",
            2,
            BB_2020,
        ),
        SignalEntry(
            "options_iv_realised", "1", "log(at-the-money / realised volatility of 30 days of snapshots)", 31, BTZ_2009
        ),
    ),
    "social": (
        SignalEntry(
            "social_sentiment",
            "1",
            "mean score of the newest 50 posts of 24 h, at least 10, weighted by votes, age, relevance",
            3,
            A_2019,
        ),
        SignalEntry("social_attention", "1", "log of posts in the last hour over the hourly mean of 24 h", 2),
        SignalEntry("social_dispersion", "1", "weighted standard deviation of the same posts' scores", 3, AF_2004),
        SignalEntry("social_sentiment_change", "1", "sentiment of 6 h minus that of the 18 h before, 10 posts each", 3),
        SignalEntry("social_repeats", "1", "share of the posts of 24 h that repeat an earlier one", 3),
    ),
    "onchain": (
        SignalEntry(
            "onchain_flow_ratio", "1", "(out - in) / (out + in) of exchanges, newest labelled transfers of 24 h", 2
        ),
        SignalEntry(
            "onchain_flow_z", "1", "their mean against the labelled transfers of 30 days before, in standard errors", 32
        ),
        SignalEntry(
            "onchain_activity", "1", "log of coins in large transfers of 24 h over the daily mean of 30 days", 32
        ),
        SignalEntry(
            "onchain_dormancy", "log days", "mean log(1 + days) since the sender last received, by coins, 24 h", 2
        ),
    ),
}
"""Every slow signal by kind, in column order: new ones come last."""

SIGNAL_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    kind: tuple(entry.name for entry in entries) for kind, entries in SIGNALS.items()
}
"""Columns of each kind of signal frame, beside ``ts_known`` and ``symbol``."""

HISTORY_SESSIONS: Final[dict[str, int]] = {"options": 31, "social": 3, "onchain": 32}
"""Sessions that a session's signals look at, itself included: 30 days of baselines, and a late label's day."""

SLOW_KINDS: Final[dict[SourceName, tuple[str, ...]]] = {
    "simulated": ("options", "social", "onchain"),
    "lobster": (),
    "lean_equity": (),
    "crypto_2026": ("options", "social", "onchain"),
    "recorded": (),
}
"""Kinds of slow signals each source has; a kind that a source lacks adds no columns."""
