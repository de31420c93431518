"""Who trades, since when and why: an append-only chain of signed records (docs/decisions/0005).

A record has *content*, which is the same whenever the same night is decided on the same inputs, and a *side*, which
is not (wall time, run ids, registry versions). Each record's hash covers the hash before it, both hashes of its own
parts and its number; the signature covers the record's hash. The champion at any time is computed from the records,
never stored.
"""

import json
import time
from collections.abc import Callable, Mapping
from datetime import date
from sqlite3 import Connection
from typing import Any, Final

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
from models.decision_records import THE_GATE as THE_GATE
from models.decision_records import Champion as Champion
from models.decision_records import Decision as Decision
from models.decision_records import DecisionError as DecisionError
from models.decision_records import Kind as Kind
from models.decision_records import NightInputs as NightInputs
from models.decision_records import Verification as Verification
from models.decision_records import champion_of, moment_of, problem_of, record_hash, require_person
from models.evidence import Verdict
from models.signing import create_signing_key, load_public_key, load_signer

FOREVER: Final = 2**63 - 1
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
        require_person(by, why)
        content = {"by": by, "why": why, "reason": "by_hand", "model": model, "bundle_sha256": bundle_sha256}
        with writing(self._path) as database:
            moment = moment_of(_records(database), effective_ns)
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
        require_person(by, why)
        with writing(self._path) as database:
            records = _records(database)
            moment = moment_of(records, effective_ns)
            present = champion_of(records, moment)
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
        return champion_of(records if known_by is None else records[: max(known_by, 0)], time_ns)

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
            problem = problem_of(row, number, previous, public_key)
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
        champion = champion_of(before, effective_ns if night is None else effective_ns - 1)
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
        own_hash = record_hash(sequence, previous_hash, content_sha256, sha256_text(side_text), signer.public_key)
        signature = signer.sign(bytes.fromhex(own_hash))
        values = (sequence, kind, night, int(effective_ns), text, content_sha256, side_text, previous_hash, own_hash)
        database.execute(
            "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, signer.public_key, signature)
        )
        return _records(database)[-1]


def _records(database: Connection) -> list[Decision]:
    rows = database.execute("SELECT * FROM decisions ORDER BY sequence").fetchall()
    return [
        Decision(**{**dict(row), "content": json.loads(row["content"]), "side": json.loads(row["side"])})
        for row in rows
    ]
