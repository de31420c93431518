"""Only models that learnt the executable label may be promoted; others keep their place in the table, marked."""

import json

import pytest

from features.labels import FORMS
from models.gate import assess
from models.label_rule import EXECUTABLE, LABEL_NOT_EXECUTABLE, hold_to_executable
from tests.evidence.worlds import GATE, HORIZON_NS, good, make_evidence

PASSED = assess(good(), GATE, HORIZON_NS)


def test_the_executable_form_is_the_default_and_changes_nothing() -> None:
    assert FORMS[0] == EXECUTABLE
    assert PASSED.promoted
    assert hold_to_executable(PASSED, EXECUTABLE) is PASSED


@pytest.mark.parametrize("form", FORMS[1:])
def test_no_other_form_is_promoted_however_well_it_did(form: str) -> None:
    found = hold_to_executable(PASSED, form)
    assert (found.verdict, found.reason, found.winner) == ("refuse", LABEL_NOT_EXECUTABLE, None)
    assert "c0 passed every other condition" in found.detail
    assert form in found.detail
    assert found.best_candidate == PASSED.best_candidate, "it may trade in the shadow"
    assert [row.net_pnl for row in found.table] == [row.net_pnl for row in PASSED.table]
    assert all(any(form in why for why in row.failed) == row.is_candidate for row in found.table)
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_refusal_keeps_its_reason_and_says_the_form_beside_it() -> None:
    refused = assess(make_evidence(skill=0.02), GATE, HORIZON_NS)
    found = hold_to_executable(refused, "anchored")
    assert found.reason == refused.reason == "does_not_pay"
    assert found.detail.startswith(refused.detail)
    assert "anchored" in found.detail
