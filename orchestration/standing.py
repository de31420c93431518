"""Who traded a session: the champion at its open, else the best candidate of the decision before it, in the shadow."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from marketdata.clock import Session
from marketdata.paths import DataRoot

if TYPE_CHECKING:  # loading a model is not part of loading the code location
    from models.bundle import Bundle

Mode = Literal["paper", "shadow"]


@dataclass(frozen=True)
class Trader:
    """Who trades a session.

    Attributes
    ----------
    mode : "paper", "shadow" or None
        ``paper`` is the champion; None: nobody trades.
    night : str or None
        The night whose decision it follows from.
    reason : str
        One sentence for a person.
    """

    mode: Mode | None
    model: str = ""
    bundle_sha256: str = ""
    night: str | None = None
    reason: str = ""


def trader_of(root: DataRoot, session: Session) -> Trader:
    """Return who trades a session by the decisions that are in effect at its open (P4, R17)."""
    from models.decisions import DecisionLedger

    ledger = DecisionLedger(root)
    before = [
        record
        for record in ledger.history()
        if record.night is not None
        and record.night < session.date.isoformat()
        and record.effective_ns <= session.open_ns
    ]
    champion = ledger.champion_at(session.open_ns)
    if champion is not None:
        night = next((record.night for record in before if record.sequence == champion.decided_by), None)
        return Trader("paper", champion.model, champion.bundle_sha256, night, f"champion {champion.model}")
    if not before:
        return Trader(None, reason="no decision was taken before this session")
    last = max(before, key=lambda record: (record.effective_ns, record.sequence))
    shadow = last.content.get("shadow")
    if not shadow:
        return Trader(None, night=last.night, reason=f"night {last.night} names nobody: {last.content['reason']}")
    return Trader(
        "shadow",
        shadow["model"],
        shadow["bundle_sha256"],
        last.night,
        f"no champion (night {last.night}: {last.content['reason']}); the best candidate trades in the shadow",
    )


def load_trader(root: DataRoot, session: Session, trader: Trader) -> "Bundle":
    """Return the trader's bundle: a champion's from the registry, checked against its decision record."""
    from models.bundle import load_bundle
    from models.decisions import DecisionLedger
    from models.registry import RegistryError, download_bundle, find_bundle

    if trader.mode == "paper":
        champion = DecisionLedger(root).champion_at(session.open_ns)
        if champion is None or champion.bundle_sha256 != trader.bundle_sha256:
            raise RegistryError(f"the champion of {session.date} changed while its bundle was being loaded")
        return download_bundle(root, champion)
    return load_bundle(find_bundle(root, trader.bundle_sha256), trader.bundle_sha256)
