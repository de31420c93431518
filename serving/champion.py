"""Who serves: the champion of the decision records, else the best candidate in the shadow, else nobody and why.

The decision chain is the truth (P9); the registry only delivers files, whose hash is checked against the record (P8).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marketdata.clock import from_ns
from marketdata.paths import DataRoot
from models.bundle import Bundle, BundleError, load_bundle
from models.decisions import DecisionLedger
from models.registry import RegistryError, download_bundle, find_bundle

Mode = Literal["paper", "shadow"]


@dataclass(frozen=True)
class Standing:
    """Who may be served now.

    Attributes
    ----------
    mode : ``paper``, ``shadow`` or None
        ``paper`` is the champion; None: nobody.
    model, bundle_sha256 : str
        Empty where nobody is.
    since_ns : int or None
        When the champion's term began, in the market's time.
    decided_by : int
        Number of the decision record that this follows from; 0 without any.
    reason : str
        One sentence for a person: who, or why nobody.
    """

    mode: Mode | None
    model: str = ""
    bundle_sha256: str = ""
    since_ns: int | None = None
    decided_by: int = 0
    reason: str = ""


class ChampionWatch:
    """Looks at the decision records and loads the bundle when somebody new stands.

    Parameters
    ----------
    root : DataRoot
    allow_shadow : bool
        Whether the best candidate of the last night stands where there is no champion (R17).
    """

    def __init__(self, root: DataRoot, *, allow_shadow: bool = False) -> None:
        self._root = root
        self._allow_shadow = allow_shadow
        self._seen: tuple[tuple[int, int], ...] | None = None
        self._standing = Standing(None, reason="no decision was taken yet: run `flowsense nightly` first")
        self._bundle: Bundle | None = None

    def look(self) -> Standing:
        """Return who stands now; cheap when no record was added since the last look."""
        seen = _file_marks(self._root.decisions_database)
        if seen != self._seen:
            self._standing = standing_of(self._root, allow_shadow=self._allow_shadow)
            if self._bundle is not None and self._bundle.sha256 != self._standing.bundle_sha256:
                self._bundle = None
            self._seen = seen
        return self._standing

    def bundle(self) -> tuple[Standing, Bundle | None]:
        """Return who stands and the bundle, loaded and checked once; None with the reason where there is none.

        A bundle that cannot be delivered or is not the one that was decided on is refused, with the reason.
        """
        standing = self.look()
        if standing.mode is None:
            return standing, None
        if self._bundle is None:
            try:
                self._bundle = _load(self._root, standing)
            except (BundleError, RegistryError) as error:
                self._seen = None
                return Standing(None, decided_by=standing.decided_by, reason=f"{standing.model}: {error}"), None
        return standing, self._bundle


def standing_of(root: DataRoot, *, allow_shadow: bool = False) -> Standing:
    """Return who stands by the decision records, without loading anything."""
    if not root.decisions_database.exists():
        return Standing(None, reason="no decision was taken yet: run `flowsense nightly` first")
    ledger = DecisionLedger(root)
    champion = ledger.champion_at()
    if champion is not None:
        since = f"{from_ns(champion.since_ns):%Y-%m-%d %H:%M} UTC"
        return Standing(
            "paper",
            champion.model,
            champion.bundle_sha256,
            champion.since_ns,
            champion.decided_by,
            f"champion {champion.model} since {since} by record {champion.decided_by}",
        )
    nights = [record for record in ledger.history() if record.night is not None]
    if not nights:
        return Standing(None, reason="no decision was taken yet: run `flowsense nightly` first")
    last = nights[-1]
    why = f"no champion: night {last.night} was {last.content['reason']}"
    shadow = last.content.get("shadow")
    if shadow and allow_shadow:
        reason = f"{why}; {shadow['model']} trades in the shadow"
        return Standing("shadow", shadow["model"], shadow["bundle_sha256"], None, last.sequence, reason)
    return Standing(None, decided_by=last.sequence, reason=why)


def _load(root: DataRoot, standing: Standing) -> Bundle:
    if standing.mode == "paper":
        champion = DecisionLedger(root).champion_at()
        if champion is None or champion.bundle_sha256 != standing.bundle_sha256:
            raise RegistryError("the champion changed while it was being loaded")
        return download_bundle(root, champion)
    return load_bundle(find_bundle(root, standing.bundle_sha256), standing.bundle_sha256)


def _file_marks(database: Path) -> tuple[tuple[int, int], ...]:
    """Return what changes when a record is added: size and time of the database and of its write-ahead log."""
    marks = []
    for path in (database, database.with_name(database.name + "-wal")):
        try:
            status = os.stat(path)
            marks.append((status.st_size, status.st_mtime_ns))
        except FileNotFoundError:
            marks.append((0, 0))
    return tuple(marks)
