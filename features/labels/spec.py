"""Which label: the forms there are, and the specification that settings choose."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Final, Literal, get_args

from marketdata.settings import LabelSettings, LatencySettings

Form = Literal["executable", "events", "anchored", "smoothed", "next_move", "triple_barrier", "volatility"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
"""Every form, the default first."""

DESCRIPTIONS: Final[dict[Form, str]] = {
    "executable": "mid a horizon after the order's arrival minus mid at the arrival; up or down beyond half the spread + fee",
    "events": "the same, the horizon counted in event groups after the arrival",
    "anchored": "mid a horizon after the row minus mid at the row, no latency: nobody can trade it",
    "smoothed": "mean mid of the horizon after the row minus mean mid of the horizon before it (DeepLOB)",
    "next_move": "the first change of the mid after the arrival, up or down",
    "triple_barrier": "which of two barriers around the mid at the arrival is passed first, flat if neither in the horizon",
    "volatility": "root of the summed squared moves of the mid in the horizon; 1 if beyond half the spread + fee, else 0",
}
"""What each form is, in words."""

VOLATILITY_CELLS: Final = 10
"""Parts of the horizon whose moves the volatility target sums."""


@dataclass(frozen=True, slots=True)
class LabelSpec:
    """A label: its form and its numbers; offline only.

    Attributes
    ----------
    form : str
        One of :data:`FORMS`.
    horizon_ns : int
        Length of the window where the clock is time; for ``next_move`` the longest wait.
    horizon_events : int
        Its length in event groups (``events``).
    to_venue_ns : int
        From a row to the arrival of its order, from where all but the anchored and the smoothed form start.
    max_gap_ns : int
        A quote older than this is no quote.
    barrier_thresholds : float
        Distance of the two barriers from the mid, in thresholds of half the spread plus fee (``triple_barrier``).
    """

    form: Form
    horizon_ns: int
    horizon_events: int
    to_venue_ns: int
    max_gap_ns: int
    barrier_thresholds: float

    def __post_init__(self) -> None:
        if self.form not in FORMS:
            raise ValueError(f"unknown label form {self.form!r}: {', '.join(FORMS)}")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides what the label means."""
        return hashlib.sha256(repr(sorted(asdict(self).items())).encode()).hexdigest()


def label_spec(label: LabelSettings, latency: LatencySettings, form: Form | None = None) -> LabelSpec:
    """Return the label that the settings choose, or another form with the same numbers."""
    return LabelSpec(
        form or label.form,
        label.horizon_ns,
        label.horizon_events,
        latency.to_venue_ns,
        label.max_gap_ns,
        label.barrier_thresholds,
    )
