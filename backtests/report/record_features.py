"""Features, labels and order flow in a night's record: what each says, and what the book looked like."""

from dataclasses import dataclass

from features.feature_report import FeatureInformation as FeatureInformation
from features.feature_report import FeatureReport as FeatureReport
from features.feature_report import FoldInformation as FoldInformation


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFormRow:
    """One form of the label over all instruments of a session; shares and accuracies in [0, 1], None where undefined."""

    form: str
    description: str = ""
    is_used: bool = False
    """Whether the night trains on it."""
    labelled: int = 0
    rows: int = 0
    down: float | None = None
    flat: float | None = None
    up: float | None = None
    majority: float | None = None
    persistence: float | None = None
    """Accuracy of repeating the last label that was known."""
    persistence_f1: float | None = None
    previous_row: float | None = None
    """Accuracy of repeating the row before's label, which nobody knew yet."""
    already_happened: float | None = None
    """Accuracy of the sign of what had happened when the row was taken (smoothed form)."""
    wait_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedRow:
    """How much of the move of the same 10 s a measure explains; see ``features.order_flow.Explained``."""

    measure: str
    inside: float | None = None
    ahead: float | None = None
    whole: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BookPicture:
    """One instrument's session: depth by price and time, flow by level.

    Attributes
    ----------
    depth_png : str
        Base64 of a picture whose pixels are the darker the more lots rest there, bids and asks in two colours.
    low, high : float
        Prices in the quote currency at its lower and upper edge.
    mid : tuple
        Mid at equally spaced moments, quote currency; None on a one-sided book.
    flow : tuple of tuples
        Cumulated flow of each level at equally spaced moments, over the mean depth of a level.
    move : tuple
        Mid move in ticks since the open at the same moments.
    weights : tuple
        First principal component of the levels.
    """

    symbol: str
    open_ns: int
    close_ns: int
    depth_png: str = ""
    low: float = 0.0
    high: float = 1.0
    mid: tuple[float | None, ...] = ()
    flow: tuple[tuple[float, ...], ...] = ()
    move: tuple[float, ...] = ()
    weights: tuple[float, ...] = ()
    explained: tuple[ExplainedRow, ...] = ()
