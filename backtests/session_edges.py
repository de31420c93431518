"""What every member of the certificate's grid did in one session, and how a long measurement keeps it.

Eighty sessions take a quarter of an hour on two idle cores. Each is written down as it is done, under a name that says which
market, fees and settings it is of, so that a measurement that was stopped goes on where it was.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from backtests.certificate import simulator_sha256
from marketdata.settings import Settings

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SessionEdges:
    """What every member did in one session.

    Attributes
    ----------
    takers : dict of (fee in ppm, member's name) to float64 array, shape (blocks, 2)
        Money and lots by half hours.
    makers : dict of member's name to float64 array, shape (blocks, 3)
        Mark-out before the fee, lots, and the notional filled.
    profits : dict of (fee in ppm, member's name) to float
        Net profit of the account; makers under the preset's fee.
    """

    events: int
    spread: float
    takers: dict[tuple[int, str], Float64]
    makers: dict[str, Float64]
    profits: dict[tuple[int, str], float]


def part_path(folder: Path, settings: Settings, index: int, taker_ppm: tuple[int, ...], *, makers_too: bool) -> Path:
    """Return where one session of a measurement is kept: its name holds a hash of the market, the settings and the members."""
    parts = [simulator_sha256(), settings.model_dump_json(), list(taker_ppm), makers_too]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return folder / f"{digest}-{index:03d}.json"


def save_edges(edges: SessionEdges, path: Path) -> None:
    """Write one session, whole or not at all."""
    values = {
        "events": edges.events,
        "spread": edges.spread,
        "takers": [[*place, blocks.tolist()] for place, blocks in edges.takers.items()],
        "makers": [[name, blocks.tolist()] for name, blocks in edges.makers.items()],
        "profits": [[*place, profit] for place, profit in edges.profits.items()],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values), encoding="utf-8")
    os.replace(temporary, path)


def load_edges(path: Path) -> SessionEdges:
    """Return a session that :func:`save_edges` wrote, to the bit."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return SessionEdges(
        events=values["events"],
        spread=values["spread"],
        takers={(ppm, name): np.array(blocks, np.float64) for ppm, name, blocks in values["takers"]},
        makers={name: np.array(blocks, np.float64) for name, blocks in values["makers"]},
        profits={(ppm, name): profit for ppm, name, profit in values["profits"]},
    )
