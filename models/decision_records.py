"""What the chain of decisions is made of: a record, the champion that follows from records, what is wrong with one.

Plain values and pure functions over them; who writes them down is :mod:`models.decisions`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from sqlite3 import Row
from typing import Any, Final, Literal

from models.append_only import sha256_text
from models.signing import is_signed_by

Kind = Literal["promotion", "refusal", "manual_promotion", "rollback"]

THE_GATE: Final = "gate"
_CHANGES_CHAMPION: Final = ("promotion", "manual_promotion", "rollback")


class DecisionError(ValueError):
    """The decision cannot be recorded; the message says why."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One record of the chain; ``content`` is deterministic, ``side`` is not."""

    sequence: int
    kind: Kind
    night: str | None
    effective_ns: int
    content: dict[str, Any]
    content_sha256: str
    side: dict[str, Any]
    previous_hash: str
    record_hash: str
    public_key: str
    signature: str


@dataclass(frozen=True, slots=True)
class Champion:
    """Who trades.

    Attributes
    ----------
    model, bundle_sha256 : str
        Name of the model and content hash of its bundle.
    since_ns : int
        When it began to trade.
    sequence : int
        The record that promoted this bundle in the first place.
    decided_by : int
        The record by which it trades: the same, or the rollback that brought it back.
    """

    model: str
    bundle_sha256: str
    since_ns: int
    sequence: int
    decided_by: int


@dataclass(frozen=True, slots=True)
class Verification:
    """The outcome of walking the chain: ``broken`` is the first record that does not hold, None when all do."""

    records: int
    broken: int | None
    problem: str
    head: str

    @property
    def ok(self) -> bool:
        """Whether every record holds."""
        return self.broken is None


@dataclass(frozen=True, slots=True)
class NightInputs:
    """What a night's decision names besides the gate's verdict.

    Attributes
    ----------
    bundles : mapping
        Content hash of the bundle that each candidate would trade with; the winner's and the best candidate's are
        needed.
    evidence_sha256 : str
        :meth:`Evidence.content_hash`.
    facts : mapping
        Further deterministic, JSON-able facts: hashes of dataset, code and trials, missing instruments, control
        results.
    """

    bundles: Mapping[str, str]
    evidence_sha256: str
    facts: Mapping[str, Any] = field(default_factory=dict)


def require_person(by: str, why: str) -> None:
    """Refuse a decision by hand that does not say who made it and why.

    Raises
    ------
    DecisionError
        If either is empty, or the person has the gate's own name.
    """
    if not by.strip() or not why.strip():
        raise DecisionError("a decision by hand needs who made it and why")
    if by.strip() == THE_GATE:
        raise DecisionError(f"{THE_GATE!r} is the gate's own name")


def moment_of(records: list[Decision], effective_ns: int | None) -> int:
    """Return when a decision takes effect: as asked, else the latest time that any record does.

    Raises
    ------
    DecisionError
        If no time is given and there is no record.
    """
    if effective_ns is not None:
        return effective_ns
    if not records:
        raise DecisionError("nothing was decided yet: say from when on (effective_ns)")
    return max(record.effective_ns for record in records)


def record_hash(sequence: int, previous: str, content_sha256: str, side_sha256: str, public_key: str) -> str:
    """Return the hash of a record: of its number, the hash before it, its parts and the key that signs it."""
    return sha256_text(f"{sequence}\n{previous}\n{content_sha256}\n{side_sha256}\n{public_key}")


def champion_of(records: list[Decision], time_ns: int) -> Champion | None:
    """Return the champion by the last record in effect; a night decided again counts by its last decision only."""
    last_of_night = {r.night: r.sequence for r in records if r.night is not None}
    standing = [
        r
        for r in records
        if r.kind in _CHANGES_CHAMPION
        and r.effective_ns <= time_ns
        and (r.night is None or last_of_night[r.night] == r.sequence)
    ]
    if not standing:
        return None
    last = max(standing, key=lambda r: (r.effective_ns, r.sequence))
    if last.content["bundle_sha256"] is None:
        return None
    first = last.content["restores"] if last.kind == "rollback" else last.sequence
    return Champion(last.content["model"], last.content["bundle_sha256"], last.effective_ns, first, last.sequence)


def problem_of(row: Row, number: int, previous: str, public_key: str) -> str:
    """Return what is wrong with a record in its place, or an empty text."""
    if row["sequence"] != number:
        return f"record {number} is missing"
    if row["previous_hash"] != previous:
        return "does not follow the record before it"
    if sha256_text(row["content"]) != row["content_sha256"]:
        return "its content was changed"
    content = json.loads(row["content"])
    if (content["kind"], content["night"], content["effective_ns"]) != (row["kind"], row["night"], row["effective_ns"]):
        return "its columns differ from its content"
    if row["public_key"] != public_key:
        return "it was signed with a key that is not this data root's"
    side_sha256 = sha256_text(row["side"])
    if row["record_hash"] != record_hash(number, previous, row["content_sha256"], side_sha256, public_key):
        return "its hash is wrong"
    if not is_signed_by(public_key, bytes.fromhex(row["record_hash"]), row["signature"]):
        return "its signature is wrong"
    return ""
