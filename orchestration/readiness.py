"""Which sessions are waiting for what, read from the published and the quarantined partitions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Final, Literal

from marketdata.partitions import PartitionMissing, PartitionQuarantined, open_partition
from marketdata.paths import DataRoot, PartitionKey
from orchestration.grids import Grids

if TYPE_CHECKING:  # the sources' parsers would make loading the code location slow
    from marketdata.sources import Source

TICK_CHAIN: Final = ("raw_ticks", "events", "point_events", "feature_rows", "labels")
State = Literal["published", "quarantined", "missing"]


def chain_end(chain: str) -> str:
    """Return the last asset of a chain: ``ticks``, or a kind of slow signals."""
    return "labels" if chain == "ticks" else f"{chain}_signals"


def partition_state(root: DataRoot, key: PartitionKey) -> State:
    """Return whether a partition is published, quarantined or missing."""
    try:
        open_partition(root, key)
    except PartitionMissing:
        return "missing"
    except PartitionQuarantined:
        return "quarantined"
    return "published"


def chain_state(root: DataRoot, assets: Sequence[str], day: date, symbol: str | None) -> tuple[State, str]:
    """Return how far a chain of assets came, and the first asset that is in quarantine (else the last of the chain).

    A chain is published when its last asset is, quarantined when any of it is, and missing otherwise.
    """
    for asset in assets:
        if partition_state(root, PartitionKey(asset, day, symbol)) == "quarantined":
            return "quarantined", asset
    return partition_state(root, PartitionKey(assets[-1], day, symbol)), assets[-1]


def has_data(source: "Source", day: date) -> bool:
    """Whether the source has the session of a date now."""
    return any(session.date == day for session in source.sessions())


@dataclass(frozen=True)
class Readiness:
    """Whether a session's ingest has ended, and what is still missing."""

    day: date
    waiting_for: tuple[str, ...]

    @property
    def is_ready(self) -> bool:
        """Whether every instrument and every kind of slow signal is published or quarantined."""
        return not self.waiting_for


def readiness(root: DataRoot, grids: Grids, raw_of: dict[str, str], slow_kinds: Sequence[str], day: date) -> Readiness:
    """Return what a session's training still waits for."""
    waiting = [s for s in grids.symbols if chain_state(root, TICK_CHAIN, day, s)[0] == "missing"]
    for kind in slow_kinds:
        if chain_state(root, (raw_of[kind], chain_end(kind)), day, None)[0] == "missing":
            waiting.append(kind)
    return Readiness(day, tuple(waiting))
