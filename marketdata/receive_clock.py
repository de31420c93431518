"""The declared latency model of sources that have no receive time of their own.

``ts_recv = ts_event + base + jitter``, made monotone by a running maximum: a feed delivers in order. The jitter is a
hash of (seed, session date, instrument, sequence), so it is the same on every run, for every subset of instruments,
and for all rows of one event group. It is uniform on ``[0, feed_jitter_ns]``; queueing bursts and outages are not
modelled.
"""

from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt

from marketdata.events import CLOCK_MODELLED, EventArray
from marketdata.settings import LatencySettings

UInt64 = npt.NDArray[np.uint64]

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def splitmix64(values: UInt64) -> UInt64:
    """Return a well-mixed 64-bit hash of each value (Steele, Lea, Flood 2014); wraps modulo 2**64."""
    z = values + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))


def apply_receive_clock(events: EventArray, latency: LatencySettings, day: date) -> EventArray:
    """Fill ``ts_recv`` and ``clock_quality`` of one instrument's session in place, and return the events.

    Parameters
    ----------
    events : event array, shape (n,)
        In order of ``ts_event``; ``sequence`` and ``instrument_id`` are filled.
    latency : LatencySettings
        ``feed_ns`` is the base, ``feed_jitter_ns`` the largest jitter, ``feed_seed`` the seed.
    """
    if not len(events):
        return events
    salt = np.array([latency.feed_seed, day.toordinal(), int(events["instrument_id"][0])], np.uint64)
    key = np.zeros(1, np.uint64)
    for part in salt:
        key = splitmix64(key ^ part)
    draw = splitmix64(events["sequence"].astype(np.uint64) ^ key)
    jitter = (draw % np.uint64(latency.feed_jitter_ns + 1)).astype(np.int64)
    events["ts_recv"] = np.maximum.accumulate(events["ts_event"] + latency.feed_ns + jitter)
    events["clock_quality"] = CLOCK_MODELLED
    return events
