"""Feature selection inside a fold (W16): columns whose rank correlation with the label survives false-discovery control."""

from typing import Any

import numpy as np
import numpy.typing as npt

from features.information import BLOCK_NS, Method, block_coefficients, coefficients, q_values
from models.forecaster import TrainingBlock


def select_columns(
    block: TrainingBlock, rows: npt.NDArray[np.intp], method: Method, rate: float, seed: int
) -> tuple[list[str], dict[str, Any]]:
    """Return the design columns that are discoveries on these rows, and what was found, JSON-able.

    Parameters
    ----------
    rows : intp array
        Training rows with known labels: all that the choice may see.
    method : {"bh", "by"}
        How false discoveries are controlled.
    rate : float
        Share of them among the chosen that is accepted.

    Returns
    -------
    columns : list of str
        In the order of the design. Instrument indicators always stay; where nothing is a discovery, or there are too few
        half-hour blocks to tell, they are all there is.
    findings : dict
        ``tested``, ``chosen``, and ``coefficient`` and ``q`` by column.
    """
    names = block.rows.columns
    tested = np.array([k for k, name in enumerate(names) if not name.startswith("is_")], dtype=np.intp)
    found = block_coefficients(
        block.rows.x[np.ix_(rows, tested)],
        block.y[rows],
        block.rows.instrument[rows],
        block.rows.ts_recv[rows] // BLOCK_NS,
    )
    total = coefficients(found, seed)
    q = q_values(total.p_value, method)
    chosen = {names[tested[k]] for k in np.flatnonzero(np.isfinite(q) & (q <= rate))}
    findings = {
        "method": method,
        "rate": rate,
        "blocks": len(found.block),
        "tested": len(tested),
        "chosen": [name for name in names if name in chosen],
        "coefficient": {names[k]: _number(total.mean[j]) for j, k in enumerate(tested)},
        "q": {names[k]: _number(q[j]) for j, k in enumerate(tested)},
    }
    return [name for name in names if name in chosen or name.startswith("is_")], findings


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
