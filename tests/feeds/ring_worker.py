"""What the ring's tests run in processes of their own: `python ring_worker.py <role> <ring> …`."""

import sys
import time

import numpy as np

from marketdata.events import EVENT_DTYPE, F_LAST, LEVEL, EventArray, empty_events
from marketdata.feeds.ring import SharedRing
from marketdata.feeds.ring_feed import RingWriter
from marketdata.messages import EventBatch
from marketdata.receive_clock import splitmix64


def numbered(first: int, count: int) -> EventArray:
    """Return rows whose every field follows from their number: a torn, lost, doubled or swapped row cannot hide."""
    events = empty_events(count)
    number = np.arange(first, first + count, dtype=np.int64)
    mixed = splitmix64(number.astype(np.uint64))
    events["sequence"] = number
    events["ts_recv"] = number
    events["ts_event"] = (mixed >> np.uint64(1)).astype(np.int64)
    events["price_units"] = (mixed >> np.uint64(20)).astype(np.int64)
    events["size_lots"] = (mixed >> np.uint64(40)).astype(np.int64)
    events["order_id"] = number * 3
    events["instrument_id"] = number % 1_000
    events["action"], events["side"], events["flags"] = LEVEL, 1, F_LAST
    return events


def produce(name: str, rows: int, seed: int) -> None:
    """Push numbered rows in batches of random sizes."""
    sizes = np.random.default_rng(seed)
    with SharedRing.attach(name, 10.0) as ring:
        writer = RingWriter(ring)
        batch = numbered(0, 50_000)
        done = 0
        while done < rows:
            if done % 50_000 == 0:
                batch = numbered(done, 50_000)
            at = done % 50_000
            size = int(min(sizes.integers(1, 5_000), 50_000 - at, rows - done))
            writer.put(EventBatch(batch[at : at + size], done + size - 1))
            done += size
        writer.close()


def stall(name: str) -> None:
    """Push a few rows, then go on living without a word until killed."""
    ring = SharedRing.attach(name, 10.0)
    writer = RingWriter(ring)
    writer.put(EventBatch(numbered(0, 10), 9))
    print("pushed", flush=True)
    time.sleep(60)


def own(name: str) -> None:
    """Make a ring and wait to be killed."""
    ring = SharedRing.create(name, 64)
    print(ring.capacity * EVENT_DTYPE.itemsize, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    role, name, *rest = sys.argv[1:]
    {"produce": produce, "stall": stall, "own": own}[role](name, *(int(part) for part in rest))
