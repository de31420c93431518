"""What ``flowsense new feature`` writes: a compiled step of the published signature, and the laws as its test."""

from typing import Final

MODULE: Final = '''"""{title}: who presses at the best quotes, remembered with a half-life. Make it yours.

Its laws are checked on a simulated hour by::

    flowsense features lint features/{name}.py

and ``[sampling] own = ["path/to/{name}.py"]`` in a data root's settings.toml makes it a column of the rows, at night and live.

``features/own.py`` says what the step is given; it is called with each event and the best quotes after it, so it cannot see
what comes later.
"""

import math
from typing import Any, Final

from features.own import OwnKernel, own_step

HALF_LIFE_NS: Final = 1_000_000_000
VALUE: Final = 0
SEEN_NS: Final = 1
"""Places in the state: the decayed mean, and the time of the event before."""


@own_step
def step(
    state: Any, now: int, action: int, side: int, price: int, lots: int, bid: int, bid_lots: int, ask: int, ask_lots: int
) -> float:
    """Return the decayed mean of (bid lots - ask lots) / (bid lots + ask lots); NaN while a side is empty."""
    if bid_lots == 0 or ask_lots == 0:
        return math.nan
    share = (bid_lots - ask_lots) / (bid_lots + ask_lots)
    kept = 0.0 if state[SEEN_NS] == 0.0 else 0.5 ** ((now - state[SEEN_NS]) / HALF_LIFE_NS)
    state[VALUE] = share + kept * (state[VALUE] - share)
    state[SEEN_NS] = now
    return state[VALUE]


FEATURE: Final = OwnKernel(
    "{name}",
    "1",
    "imbalance of the best quotes' lots, each remembered with a half-life of 1 s",
    2,
    step,
    memory_ns=10 * HALF_LIFE_NS,  # 2^-10: a thousandth is left
)
'''

TEST: Final = '''"""What {name} says of a book, and that it keeps the laws of a feature."""

import numpy as np

{imports}from marketdata.events import ASK, BID, LEVEL
from tests.features.tape import random_tape
from tests.trading.tape import Tape, quoted


def test_it_is_causal_however_the_stream_is_cut_and_finite() -> None:
    assert check_own(FEATURE, random_tape(41, 400)) == []


def test_equal_queues_are_zero_and_the_longer_one_pulls() -> None:
    tape = quoted(Tape(), lots=10)(1_000, LEVEL, BID, 10_000, 30)
    values = FEATURE.step(FEATURE.init(), tape.events())[1]
    assert np.isnan(values[0]), "one side only"
    assert values[1] == 0.0
    assert values[2] == 0.5 * 0.5, "half of the way to (30 - 10) / 40 after a half-life"


def test_it_is_unknown_while_a_side_is_empty() -> None:
    tape = quoted(Tape(), lots=10)(5, LEVEL, ASK, 10_005, 0)
    assert np.isnan(FEATURE.step(FEATURE.init(), tape.events())[1][-1])
'''
