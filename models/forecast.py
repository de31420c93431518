"""A forecast as it travels: from a model to the journal and the agent."""

from typing import Final

import numpy as np
import numpy.typing as npt

FORECAST_DTYPE: Final = np.dtype(
    [
        ("ts_recv", "i8"),
        ("due_ns", "i8"),
        ("p_down", "f4"),
        ("p_flat", "f4"),
        ("p_up", "f4"),
        ("edge_units", "f4"),
        ("instrument_id", "i2"),
    ],
    align=True,
)
"""``ts_recv``: receive time of the row it was made from; ``due_ns``: when the agent has it (data time + inference
latency); ``edge_units``: expected mid move over the horizon in price units. Probabilities and edge are quantised."""

ForecastArray = npt.NDArray[np.void]
Probabilities = npt.NDArray[np.float32]

QUANTUM: Final = 1e-6


def quantise(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the values as float32 rounded to 1e-6, the only precision in which forecasts are traded or journaled."""
    return (np.rint(np.asarray(values, dtype=np.float64) / QUANTUM) * QUANTUM).astype(np.float32)


def clean_copy(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return a copy of structured rows whose padding bytes are zero: equal rows, equal bytes in files and hashes.

    numpy's own copies (masks, concatenation, ``copy``) leave whatever was in memory between the fields.
    """
    out = np.zeros(rows.shape, dtype=rows.dtype)
    for name in rows.dtype.names or ():
        out[name] = rows[name]
    return out
