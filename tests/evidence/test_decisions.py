import multiprocessing
import shutil
import sqlite3
from datetime import date
from pathlib import Path

import pytest

from marketdata.paths import DataRoot
from models.decisions import DecisionError, DecisionLedger, NightInputs
from models.gate import GATE_VERSION, assess
from models.signing import SigningKeyError, create_signing_key, is_signed_by, load_signer
from tests.evidence.worlds import GATE, HORIZON_NS, good, verdict

PROMOTE, REFUSE = verdict(True), verdict(False)
BUNDLES = {f"c{i}": f"{i}" * 64 for i in range(3)}
INPUTS = NightInputs(BUNDLES, "e" * 64, {"dataset_sha256": "d" * 64, "missing_instruments": {}})
MONDAY, TUESDAY, WEDNESDAY = date(2025, 1, 6), date(2025, 1, 7), date(2025, 1, 8)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path / "root")


@pytest.fixture
def ledger(root: DataRoot) -> DecisionLedger:
    return DecisionLedger(root, clock=lambda: 1_000)


def tamper(root: DataRoot, statement: str) -> None:
    """Change the file as somebody with an editor would: the triggers do not stop them."""
    with sqlite3.connect(root.decisions_database) as database:
        for trigger in ("decisions_no_update", "decisions_no_delete"):
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute(statement)


class TestANight:
    def test_of_a_promotion_makes_a_champion_from_its_effective_time_on(self, ledger: DecisionLedger) -> None:
        record = ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        assert record.kind == "promotion"
        assert ledger.champion_at(99) is None
        champion = ledger.champion_at(100)
        assert champion is not None
        assert (champion.model, champion.bundle_sha256, champion.since_ns) == ("c0", BUNDLES["c0"], 100)
        assert record.content["verdict"]["gate_version"] == GATE_VERSION

    def test_of_a_refusal_keeps_the_champion_and_names_the_shadow(self, ledger: DecisionLedger) -> None:
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        record = ledger.record_night(TUESDAY, REFUSE, INPUTS, 200)
        assert record.kind == "refusal"
        assert record.content["shadow"] == {
            "model": REFUSE.best_candidate,
            "bundle_sha256": BUNDLES[REFUSE.best_candidate or ""],
        }
        assert record.content["previous"]["model"] == "c0"
        assert ledger.champion_at(300) == ledger.champion_at(100)

    def test_decided_again_on_the_same_inputs_is_the_same_record(self, ledger: DecisionLedger) -> None:
        first = ledger.record_night(MONDAY, PROMOTE, INPUTS, 100, side={"run_id": "one"})
        ledger.record_night(TUESDAY, REFUSE, INPUTS, 200)
        again = ledger.record_night(MONDAY, assess(good(), GATE, HORIZON_NS), INPUTS, 100, side={"run_id": "two"})
        assert again == first
        assert len(ledger.history()) == 2

    def test_content_is_the_same_in_another_root_at_another_time(self, ledger: DecisionLedger, tmp_path: Path) -> None:
        other = DecisionLedger(DataRoot(tmp_path / "other"), clock=lambda: 9_999)
        pair = [
            book.record_night(MONDAY, PROMOTE, INPUTS, 100, side={"run": i}) for i, book in enumerate((ledger, other))
        ]
        assert pair[0].content_sha256 == pair[1].content_sha256
        assert pair[0].record_hash != pair[1].record_hash

    def test_decided_again_otherwise_takes_the_earlier_ones_place_in_the_open(self, ledger: DecisionLedger) -> None:
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        ledger.record_night(MONDAY, REFUSE, INPUTS, 100)
        assert ledger.champion_at(150) is None
        believed = ledger.champion_at(150, known_by=1)
        assert believed is not None
        assert believed.model == "c0"
        assert ledger.night(MONDAY) == ledger.history()[-1]
        assert ledger.night(WEDNESDAY) is None

    def test_is_not_decided_by_a_verdict_that_left_something_out(self, ledger: DecisionLedger) -> None:
        with pytest.raises(DecisionError, match="pessimistic"):
            ledger.record_night(MONDAY, assess(good(), GATE, HORIZON_NS, screen_only=True), INPUTS, 100)

    def test_is_not_decided_without_the_winners_bundle(self, ledger: DecisionLedger) -> None:
        with pytest.raises(DecisionError, match="no bundle named for c0"):
            ledger.record_night(MONDAY, PROMOTE, NightInputs({"c1": "1" * 64}, "e" * 64), 100)


class TestByHand:
    def test_rollbacks_go_one_champion_further_back_each_time(self, ledger: DecisionLedger) -> None:
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        ledger.promote("c1", BUNDLES["c1"], 200, by="ann", why="c0 was fitted on a broken day")
        ledger.promote("c2", BUNDLES["c2"], 300, by="ann", why="try")
        record = ledger.rollback(400, by="bob", why="c2 overtrades")
        assert (record.content["model"], record.content["restores"]) == ("c1", 2)
        ledger.rollback(500, by="bob", why="c1 too")
        models = [c.model if (c := ledger.champion_at(t)) else None for t in (100, 200, 300, 400, 500)]
        assert models == ["c0", "c1", "c2", "c1", "c0"]

    def test_the_first_champion_is_only_withdrawn_when_that_is_asked_for(self, ledger: DecisionLedger) -> None:
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        with pytest.raises(DecisionError, match="first champion"):
            ledger.rollback(200, by="bob", why="it loses")
        ledger.rollback(200, by="bob", why="it loses", to_nobody=True)
        assert ledger.champion_at(200) is None
        with pytest.raises(DecisionError, match="no champion"):
            ledger.rollback(300, by="bob", why="again")

    def test_a_later_night_may_promote_what_was_rolled_back(self, ledger: DecisionLedger) -> None:
        ledger.promote("c1", BUNDLES["c1"], 50, by="ann", why="first")
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        ledger.rollback(150, by="bob", why="drill")
        ledger.record_night(TUESDAY, PROMOTE, INPUTS, 200)
        champion = ledger.champion_at()
        assert champion is not None
        assert (champion.model, champion.sequence) == ("c0", 4)
        assert ledger.history()[-1].content["previous"]["model"] == "c1"

    def test_takes_effect_at_once_and_leaves_later_nights_their_say(self, ledger: DecisionLedger) -> None:
        with pytest.raises(DecisionError, match="nothing was decided yet"):
            ledger.promote("c1", BUNDLES["c1"], by="ann", why="first")
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        assert ledger.promote("c1", BUNDLES["c1"], by="ann", why="now").effective_ns == 100
        assert ledger.rollback(by="ann", why="no, back").effective_ns == 100
        ledger.promote("c2", BUNDLES["c2"], by="ann", why="then this")
        ledger.record_night(TUESDAY, PROMOTE, INPUTS, 200)
        models = [c.model if (c := ledger.champion_at(t)) else None for t in (99, 100, 200)]
        assert models == [None, "c2", "c0"]

    @pytest.mark.parametrize(("by", "why"), [("", "x"), ("ann", " "), ("gate", "x")])
    def test_a_person_and_a_reason_are_required(self, ledger: DecisionLedger, by: str, why: str) -> None:
        with pytest.raises(DecisionError):
            ledger.promote("c1", BUNDLES["c1"], 50, by=by, why=why)


class TestTheChain:
    @pytest.fixture
    def full(self, ledger: DecisionLedger) -> DecisionLedger:
        ledger.record_night(MONDAY, PROMOTE, INPUTS, 100)
        ledger.record_night(TUESDAY, REFUSE, INPUTS, 200)
        ledger.promote("c1", BUNDLES["c1"], 300, by="ann", why="test")
        return ledger

    def test_holds_when_nobody_touched_it(self, full: DecisionLedger) -> None:
        found = full.verify(expected_head=full.history()[-1].record_hash)
        assert found.ok
        assert (found.records, found.head) == (3, full.history()[-1].record_hash)

    def test_refuses_updates_and_deletes(self, full: DecisionLedger, root: DataRoot) -> None:
        with sqlite3.connect(root.decisions_database) as database:
            for statement in ("UPDATE decisions SET side = '{}'", "DELETE FROM decisions"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    database.execute(statement)

    @pytest.mark.parametrize(
        ("statement", "broken", "problem"),
        [
            (
                "UPDATE decisions SET content = replace(content, 'c0', 'c2') WHERE sequence=2",
                2,
                "content was changed",
            ),
            ("UPDATE decisions SET effective_ns = 5 WHERE sequence = 1", 1, "columns differ"),
            ("UPDATE decisions SET side = '{}' WHERE sequence = 2", 2, "hash is wrong"),
            ("UPDATE decisions SET signature = '00' WHERE sequence = 3", 3, "signature is wrong"),
            ("DELETE FROM decisions WHERE sequence = 2", 2, "missing"),
        ],
    )
    def test_shows_the_first_record_that_was_touched(
        self, full: DecisionLedger, root: DataRoot, statement: str, broken: int, problem: str
    ) -> None:
        tamper(root, statement)
        found = full.verify()
        assert (found.ok, found.broken) == (False, broken)
        assert problem in found.problem

    def test_shows_a_cut_end_to_who_wrote_the_head_down(self, full: DecisionLedger, root: DataRoot) -> None:
        head = full.history()[-1].record_hash
        tamper(root, "DELETE FROM decisions WHERE sequence = 3")
        assert full.verify().ok
        assert full.verify(expected_head=head).broken == 3

    def test_rewritten_with_another_key_is_found(self, full: DecisionLedger, root: DataRoot, tmp_path: Path) -> None:
        other = DataRoot(tmp_path / "forged")
        DecisionLedger(other).promote("c2", BUNDLES["c2"], 100, by="eve", why="mine now")
        shutil.copy(other.decisions_database, root.decisions_database)
        for suffix in ("-wal", "-shm"):
            root.decisions_database.with_name(root.decisions_database.name + suffix).unlink(missing_ok=True)
            source = other.decisions_database.with_name(other.decisions_database.name + suffix)
            if source.exists():
                shutil.copy(source, root.decisions_database.with_name(root.decisions_database.name + suffix))
        found = full.verify()
        assert found.broken == 1
        assert "key" in found.problem

    def test_can_be_verified_with_the_public_half_alone(self, full: DecisionLedger, root: DataRoot) -> None:
        root.signing_key.unlink()
        assert full.verify().ok


def _record_many(path: str, worker: int) -> None:
    ledger = DecisionLedger(DataRoot(Path(path)))
    for i in range(5):
        ledger.promote("c1", BUNDLES["c1"], worker * 100 + i, by=f"worker {worker}", why="at once")


class TestSeveralWriters:
    def test_five_at_once_on_a_fresh_root_leave_one_whole_chain(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("fork")
        workers = [context.Process(target=_record_many, args=(str(tmp_path), i)) for i in range(5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(timeout=60)
        assert [worker.exitcode for worker in workers] == [0] * 5
        found = DecisionLedger(DataRoot(tmp_path)).verify()
        assert (found.ok, found.records) == (True, 25)


class TestTheKey:
    def test_is_readable_by_its_owner_only_and_made_once(self, tmp_path: Path) -> None:
        path = tmp_path / "keys" / "key.pem"
        create_signing_key(path)
        before = path.read_bytes()
        create_signing_key(path)
        assert path.read_bytes() == before
        assert path.stat().st_mode & 0o777 == 0o600

    def test_that_others_may_read_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "key.pem"
        create_signing_key(path)
        path.chmod(0o640)
        with pytest.raises(SigningKeyError, match="others may read"):
            load_signer(path)

    def test_signs_what_only_it_can_sign(self, tmp_path: Path) -> None:
        create_signing_key(tmp_path / "a.pem")
        create_signing_key(tmp_path / "b.pem")
        a, b = load_signer(tmp_path / "a.pem"), load_signer(tmp_path / "b.pem")
        assert is_signed_by(a.public_key, b"message", a.sign(b"message"))
        assert not is_signed_by(a.public_key, b"other", a.sign(b"message"))
        assert not is_signed_by(b.public_key, b"message", a.sign(b"message"))

    def test_that_is_missing_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(SigningKeyError, match=r"nowhere\.pem"):
            load_signer(tmp_path / "nowhere.pem")
