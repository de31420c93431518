"""Waiting before the next attempt: exponential, with jitter, from an injected generator."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

EXPONENT_CAP: Final = 60
"""Doublings beyond which the wait is the longest in any case."""


@dataclass
class Backoff:
    """Exponential waits with jitter.

    The ``n``-th wait in a row is ``first_s * factor ** (n - 1)``, at most ``longest_s``, times a uniform draw from
    ``[1 - jitter, 1)``: many clients that lost one server do not come back at one moment.

    Attributes
    ----------
    first_s, longest_s, factor : float
    jitter : float
        Share of the wait that is drawn; 0 to 1.
    rng : numpy Generator
    failures : int
        Failures in a row so far.
    """

    first_s: float = 0.1
    longest_s: float = 5.0
    factor: float = 2.0
    jitter: float = 0.5
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    failures: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.longest_s or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError(
                f"backoff from {self.first_s} to {self.longest_s} s, factor {self.factor}, jitter {self.jitter}: "
                "waits are positive and grow, jitter is a share"
            )

    def failed(self) -> float:
        """Count one more failure and return how many seconds to wait."""
        wait = min(self.first_s * self.factor ** min(self.failures, EXPONENT_CAP), self.longest_s)
        self.failures += 1
        return wait * (1.0 - self.jitter * float(self.rng.uniform()))

    def worked(self) -> None:
        """Start anew: the last attempt was a success."""
        self.failures = 0
