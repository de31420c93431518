import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from marketdata.paths import DataRoot
from models.trials import Trial, TrialLedger

TRIAL = Trial("expanding, 3 first, 20 at most", "f" * 8, "10 s executable", "linear", {"c": 1.0}, {"edge_margin": 0.25})


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    return DataRoot(tmp_path)


def test_the_same_choice_counts_once_however_often_it_is_tried(root: DataRoot) -> None:
    ledger = TrialLedger(root)
    first = ledger.register(TRIAL)
    again = TrialLedger(root).register(replace(TRIAL, hyperparameters={"c": 1.0}))
    assert first == again
    assert ledger.count() == 1


@pytest.mark.parametrize(
    "change",
    [
        {"window": "rolling, 5"}, {"features": "g" * 8}, {"label": "1 min"}, {"model": "hmm"},
        {"hyperparameters": {"c": 0.1}}, {"strategy": {"edge_margin": 0.5}},
    ],
)  # fmt: skip
def test_every_part_of_the_choice_makes_it_another_trial(root: DataRoot, change: dict[str, object]) -> None:
    ledger = TrialLedger(root)
    ledger.register(TRIAL)
    ledger.register(replace(TRIAL, **change))  # type: ignore[arg-type]  # the cases name the fields
    assert ledger.count() == 2
    assert ledger.trials()[0] == TRIAL


def test_no_trial_can_be_taken_back(root: DataRoot) -> None:
    ledger = TrialLedger(root)
    ledger.register(TRIAL)
    with sqlite3.connect(root.trials_database) as database, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute("DELETE FROM trials")
    assert ledger.count() == 1


def test_a_trial_that_was_taken_out_by_force_is_missed(root: DataRoot) -> None:
    ledger = TrialLedger(root)
    for model in ("linear", "hmm", "gnn"):
        ledger.register(replace(TRIAL, model=model))
    assert ledger.first_broken() is None
    with sqlite3.connect(root.trials_database) as database:
        database.execute("DROP TRIGGER trials_no_delete")
        database.execute("DELETE FROM trials WHERE sequence = 2")
    assert ledger.first_broken() == 2


def test_the_digest_does_not_depend_on_the_order_of_registration(tmp_path: Path) -> None:
    digests = []
    for name, order in (("a", (1, 2, 3)), ("b", (3, 1, 2))):
        ledger = TrialLedger(DataRoot(tmp_path / name))
        for k in order:
            ledger.register(replace(TRIAL, hyperparameters={"c": k}))
        digests.append(ledger.digest())
    assert digests[0] == digests[1]


def test_many_at_once_are_all_counted(root: DataRoot) -> None:
    ledger = TrialLedger(root)
    threads = [
        threading.Thread(target=ledger.register, args=(replace(TRIAL, hyperparameters={"c": k % 6}),))
        for k in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.count() == 6
    assert ledger.first_broken() is None
