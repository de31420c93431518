"""Who trades, since when and why: an append-only chain of signed records (docs/decisions/0005).

A record has *content*, which is the same whenever the same night is decided on the same inputs, and a *side*, which
is not (wall time, run ids, registry versions). Each record's hash covers the hash before it, both hashes of its own
parts and its number; the signature covers the record's hash. The champion at any time is computed from the records,
never stored.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from sqlite3 import Connection, Row
from typing import Any, Final, Literal

from marketdata.paths import DataRoot
from models.append_only import (
    GENESIS,
    append_only_triggers,
    canonical_json,
    create_database,
    has_table,
    reading,
    sha256_text,
    writing,
)
from models.evidence import Verdict
from models.signing import create_signing_key, is_signed_by, load_public_key, load_signer

Kind = Literal["promotion", "refusal", "manual_promotion", "rollback"]

THE_GATE: Final = "gate"
FOREVER: Final = 2**63 - 1
_CHANGES_CHAMPION: Final = ("promotion", "manual_promotion", "rollback")
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS decisions (
    sequence INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    night TEXT,
    effective_ns INTEGER NOT NULL,
    content TEXT NOT NULL,
    content_sha256 TEXT NOT NULL,
    side TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    record_hash TEXT NOT NULL UNIQUE,
    public_key TEXT NOT NULL,
    signature TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS decisions_by_night ON decisions (night);
{append_only_triggers("decisions")}
"""


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


class DecisionLedger:
    """The decision chain of a data root.

    Parameters
    ----------
    root : DataRoot
        Database and signing key are created when they do not exist.
    clock : callable, optional
        Returns nanoseconds since 1970 UTC, for the side of a record.
    """

    def __init__(self, root: DataRoot, *, clock: Callable[[], int] = time.time_ns) -> None:
        self._path = root.decisions_database
        self._key = root.signing_key
        self._clock = clock
        if not has_table(self._path, "decisions"):
            create_signing_key(self._key)
            create_database(self._path, _SCHEMA)

    def record_night(
        self,
        night: date,
        verdict: Verdict,
        inputs: NightInputs,
        effective_ns: int,
        *,
        side: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Record what the gate decided for a night.

        Deciding a night again on the same inputs returns the record that is there. A different outcome (other data,
        other code) is a new record that takes the place of the night's earlier one from then on; both stay in the
        chain.

        Parameters
        ----------
        effective_ns : int
            When the decision takes effect: the open of the next session.
        side : mapping, optional
            What differs from run to run (run ids, registry version).

        Raises
        ------
        DecisionError
            If the verdict left out a condition, or the bundle of the winner or of the best candidate is not named.
        """
        if verdict.screen_only:
            raise DecisionError("a verdict that left out the pessimistic backtest decides nothing")
        named = [name for name in (verdict.winner, verdict.best_candidate) if name is not None]
        missing = [name for name in named if name not in inputs.bundles]
        if missing:
            raise DecisionError(f"no bundle named for {', '.join(sorted(set(missing)))}")
        shadow = None if verdict.promoted else verdict.best_candidate
        content = {
            "by": THE_GATE,
            "why": verdict.detail,
            "reason": verdict.reason,
            "model": verdict.winner,
            "bundle_sha256": inputs.bundles[verdict.winner] if verdict.winner else None,
            "shadow": {"model": shadow, "bundle_sha256": inputs.bundles[shadow]} if shadow else None,
            "evidence_sha256": inputs.evidence_sha256,
            "verdict": verdict.to_dict(),
            "facts": dict(inputs.facts),
        }
        kind: Kind = "promotion" if verdict.promoted else "refusal"
        with writing(self._path) as database:
            return self._append(database, kind, night.isoformat(), effective_ns, content, side)

    def promote(
        self,
        model: str,
        bundle_sha256: str,
        effective_ns: int | None = None,
        *,
        by: str,
        why: str,
        side: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Record that a person made a bundle the champion, past the gate.

        Parameters
        ----------
        effective_ns : int, optional
            When it begins to trade, in the *market's* time: a wall time later than the sessions of a recorded or
            simulated market would overrule all later nights. By default at once, which is the latest time that any
            decision takes effect (the open of the session after the last decided night).

        Raises
        ------
        DecisionError
            If the person or the reason is not given, or there is no decision yet that a default could follow.
        """
        _require_person(by, why)
        content = {"by": by, "why": why, "reason": "by_hand", "model": model, "bundle_sha256": bundle_sha256}
        with writing(self._path) as database:
            moment = _moment(_records(database), effective_ns)
            return self._append(database, "manual_promotion", None, moment, content, side)

    def rollback(
        self,
        effective_ns: int | None = None,
        *,
        by: str,
        why: str,
        to_nobody: bool = False,
        side: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Record that the champion before the present one trades again.

        A second rollback goes one further back; it does not undo the first.

        Parameters
        ----------
        effective_ns : int, optional
            As in :meth:`promote`.
        to_nobody : bool
            Where there is no earlier champion: withdraw the present one, so that nobody trades.

        Raises
        ------
        DecisionError
            If person or reason is not given, nobody is champion at that time, or there is no earlier champion.
        """
        _require_person(by, why)
        with writing(self._path) as database:
            records = _records(database)
            moment = _moment(records, effective_ns)
            present = _champion(records, moment)
            if present is None:
                raise DecisionError("there is no champion to roll back")
            earlier = records[present.sequence - 1].content["previous"]
            if earlier is None and not to_nobody:
                raise DecisionError(f"{present.model} is the first champion: there is none to go back to")
            content = {
                "by": by,
                "why": why,
                "reason": "rollback",
                "model": earlier["model"] if earlier else None,
                "bundle_sha256": earlier["bundle_sha256"] if earlier else None,
                "restores": earlier["sequence"] if earlier else None,
            }
            return self._append(database, "rollback", None, moment, content, side)

    def champion_at(self, time_ns: int = FOREVER, *, known_by: int | None = None) -> Champion | None:
        """Return who trades at a time, None when nobody does.

        Parameters
        ----------
        time_ns : int
            The time asked about, in the market's time; by default after all that was decided.
        known_by : int, optional
            Answer as records up to this number would have: what was believed then, whatever was decided since.
        """
        records = self.history()
        return _champion(records if known_by is None else records[: max(known_by, 0)], time_ns)

    def night(self, night: date) -> Decision | None:
        """Return the decision of a night that stands, None when it was not decided."""
        return next((r for r in reversed(self.history()) if r.night == night.isoformat()), None)

    def history(self) -> list[Decision]:
        """Return all records, oldest first."""
        with reading(self._path) as database:
            return _records(database)

    def verify(self, *, expected_head: str | None = None) -> Verification:
        """Walk the chain: numbers, links, hashes and signatures.

        Parameters
        ----------
        expected_head : str, optional
            A record hash written down elsewhere. A chain cannot show by itself that its end was cut off; with this it
            can.
        """
        with reading(self._path) as database:
            rows = database.execute("SELECT * FROM decisions ORDER BY sequence").fetchall()
        public_key = load_public_key(self._key)
        previous = GENESIS
        for number, row in enumerate(rows, start=1):
            problem = _problem(row, number, previous, public_key)
            if problem:
                return Verification(len(rows), number, problem, previous)
            previous = row["record_hash"]
        if expected_head is not None and expected_head not in {GENESIS, *(row["record_hash"] for row in rows)}:
            return Verification(
                len(rows), len(rows) + 1, f"the chain does not reach record {expected_head[:12]}", previous
            )
        return Verification(len(rows), None, "", previous)

    def _append(
        self,
        database: Connection,
        kind: Kind,
        night: str | None,
        effective_ns: int,
        content: dict[str, Any],
        side: Mapping[str, Any] | None,
    ) -> Decision:
        """Complete the content, sign it, and add it behind the last record, unless the night was decided so already."""
        records = _records(database)
        standing = next((r for r in reversed(records) if night is not None and r.night == night), None)
        # What stood before this decision: the night's own earlier record must not count, or deciding twice would
        # differ.
        before = [r for r in records if night is None or r.night != night]
        champion = _champion(before, effective_ns if night is None else effective_ns - 1)
        previous = None
        if champion is not None:
            previous = {"sequence": champion.sequence, "model": champion.model, "bundle_sha256": champion.bundle_sha256}
        content = {"kind": kind, "night": night, "effective_ns": int(effective_ns), "previous": previous} | content
        text = canonical_json(content)
        content_sha256 = sha256_text(text)
        if standing is not None and standing.content_sha256 == content_sha256:
            return standing
        side_text = canonical_json({"recorded_ns": self._clock()} | dict(side or {}))
        sequence = len(records) + 1
        previous_hash = records[-1].record_hash if records else GENESIS
        signer = load_signer(self._key)
        record_hash = _record_hash(sequence, previous_hash, content_sha256, sha256_text(side_text), signer.public_key)
        signature = signer.sign(bytes.fromhex(record_hash))
        values = (sequence, kind, night, int(effective_ns), text, content_sha256, side_text, previous_hash, record_hash)
        database.execute(
            "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, signer.public_key, signature)
        )
        return _records(database)[-1]


def _require_person(by: str, why: str) -> None:
    if not by.strip() or not why.strip():
        raise DecisionError("a decision by hand needs who made it and why")
    if by.strip() == THE_GATE:
        raise DecisionError(f"{THE_GATE!r} is the gate's own name")


def _moment(records: list[Decision], effective_ns: int | None) -> int:
    if effective_ns is not None:
        return effective_ns
    if not records:
        raise DecisionError("nothing was decided yet: say from when on (effective_ns)")
    return max(record.effective_ns for record in records)


def _record_hash(sequence: int, previous: str, content_sha256: str, side_sha256: str, public_key: str) -> str:
    return sha256_text(f"{sequence}\n{previous}\n{content_sha256}\n{side_sha256}\n{public_key}")


def _records(database: Connection) -> list[Decision]:
    rows = database.execute("SELECT * FROM decisions ORDER BY sequence").fetchall()
    return [
        Decision(**{**dict(row), "content": json.loads(row["content"]), "side": json.loads(row["side"])})
        for row in rows
    ]


def _champion(records: list[Decision], time_ns: int) -> Champion | None:
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


def _problem(row: Row, number: int, previous: str, public_key: str) -> str:
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
    if row["record_hash"] != _record_hash(number, previous, row["content_sha256"], side_sha256, public_key):
        return "its hash is wrong"
    if not is_signed_by(public_key, bytes.fromhex(row["record_hash"]), row["signature"]):
        return "its signature is wrong"
    return ""
