"""What every fitted feature keeps about its fit: the window it saw, when that was known, and a hash of its numbers."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class FitWindow:
    """The rows a fit saw: received in ``[start_ns, end_ns]``, everything about them known at ``ts_known``."""

    start_ns: int
    end_ns: int
    ts_known: int


def params_hash(kind: str, specification: object, arrays: Mapping[str, npt.NDArray[np.generic]]) -> str:
    """Return a SHA-256 over a JSON-able specification and named arrays: equal parameters, equal hash."""
    digest = hashlib.sha256(kind.encode())
    digest.update(json.dumps(specification, sort_keys=True).encode())
    for name in sorted(arrays):
        value = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}:{value.dtype.str}:{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
