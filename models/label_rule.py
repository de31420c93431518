"""What a night may conclude about models that learnt a label nobody can trade (R9)."""

from dataclasses import replace
from typing import Final

from models.evidence import Verdict

EXECUTABLE: Final = "executable"
"""The form of the label whose classes are what an order decided on the row can earn."""

LABEL_NOT_EXECUTABLE: Final = "label_not_executable"


def hold_to_executable(verdict: Verdict, form: str) -> Verdict:
    """Return the verdict as it stands for models of a label form: only the executable form can promote.

    The screen and the engine read a forecast as the chance of the executable move, so under any other form the probabilities
    that size and time their trades mean something else, and the log loss that the gate compares is of another question. Such a
    night's table stays, each candidate marked; nobody is promoted by it, however well it did. The same models fitted on the
    executable form are judged by themselves.

    Parameters
    ----------
    form : str
        ``label.form`` of the settings that the night's models were fitted with.
    """
    if form == EXECUTABLE:
        return verdict
    mark = f"learnt the label form {form}, which is not the executable one"
    table = tuple(replace(row, failed=(*row.failed, mark)) if row.is_candidate else row for row in verdict.table)
    if not verdict.promoted:
        return replace(verdict, table=table, detail=f"{verdict.detail}; all {mark}")
    detail = f"{verdict.winner} passed every other condition, but {mark}: fit it on label.form = {EXECUTABLE!r}"
    return replace(verdict, verdict="refuse", reason=LABEL_NOT_EXECUTABLE, detail=detail, winner=None, table=table)
