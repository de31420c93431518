"""The certificate of the null market: what was run on it, what everybody earned, and whether nothing pays (R16).

A world is a null world when nothing *pays* in it after costs, not when nothing can be forecast. Two families are run through the
real engine (``backtests.certify``): takers that see the efficient price, which no model does, over a grid of entry thresholds;
and touch makers over a grid of rules, under the queue model that flatters them less and the one that flatters them more. A
taker's edge is its net profit a lot; a maker's is what a filled lot is worth at the mid a minute later, less its price and
fee, because the luck of the inventory it holds meanwhile says nothing about the edge and hides it for years.

The market passes when, on a run of eighty sessions or more, the upper 99 % bound of every member's edge is at most zero. A
member that never fills anything has an edge of zero and passes; ``Certificate.idle`` names it.
"""

import ast
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from marketdata.settings import Settings, SimulatorSettings
from models.evidence import plain

Float64 = npt.NDArray[np.float64]

FOLDER: Final = Path(__file__).resolve().parent / "certificates"
NO_MARKET: Final = ("__init__", "calibration", "oracle", "slow", "truth")
"""Modules of the simulator that the null market's ticks do not come from."""
CONFIDENCE: Final = 0.99
LEAST_SESSIONS: Final = 80
"""Ten times the eight sessions of the demonstration; a shorter run certifies nothing, whatever it finds."""
TAPE_EVENTS: Final = 20_000
NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """One member of a grid: net edge a filled lot, in quote currency and in median spreads, and the net profit it ended with.

    Attributes
    ----------
    fills : int
        Lots filled.
    blocks : int
        Half hours of an instrument group in which it was filled.
    upper_99 : float
        Bounds the mean edge a lot from above, in quote currency: infinite where all fills lie in one block, 0 without any.
    """

    name: str
    fills: int
    blocks: int
    net_profit: float
    net_per_lot: float
    net_per_lot_spreads: float
    standard_error: float
    upper_99: float

    @property
    def pays(self) -> bool:
        """Whether it cannot be excluded, at 99 %, that it earns something."""
        return self.fills > 0 and not self.upper_99 <= 0.0


def edge_row(name: str, blocks: Float64, *, profit: float, spread: float) -> EdgeRow:
    """Return a member's edge from its sums by half hours.

    Parameters
    ----------
    blocks : float64 array, shape (n, 2)
        Money earned and lots filled in each half hour.
    profit : float
        Net profit of its account in the end.
    spread : float
        Median spread of one lot, in quote currency.

    Notes
    -----
    The mean is a ratio of sums, its error that of the ratio's linear form over independent blocks; the quantile is Student's
    with as many degrees of freedom as there are blocks with fills, less one, because the empty ones say nothing about a fill.
    """
    from scipy.stats import t

    net, lots = float(blocks[:, 0].sum()), float(blocks[:, 1].sum())
    filled = int((blocks[:, 1] > 0).sum())
    if filled == 0:
        return EdgeRow(name, 0, 0, profit, 0.0, 0.0, 0.0, 0.0)
    ratio = net / lots
    if filled == 1:
        return EdgeRow(name, int(lots), 1, profit, ratio, ratio / spread, NEVER, NEVER)
    residual = blocks[:, 0] - ratio * blocks[:, 1]
    error = float(np.sqrt(filled / (filled - 1) * (residual**2).sum())) / lots
    upper = ratio + float(t.ppf(CONFIDENCE, filled - 1)) * error
    return EdgeRow(name, int(lots), filled, profit, ratio, ratio / spread, error, upper)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was run, on what, and what came out; ``valid`` when the run is long enough and nothing pays."""

    world: str
    seed: int
    sessions: int
    instruments: tuple[str, ...]
    events: int
    taker_ppm: tuple[int, ...]
    maker_ppm: tuple[int, ...]
    latency: dict[str, int]
    simulator_sha256: str
    tape_sha256: str
    settings_sha256: str
    rows: tuple[EdgeRow, ...]

    @property
    def valid(self) -> bool:
        """Whether the run is as long as it has to be and no member of the grid pays."""
        return self.sessions >= LEAST_SESSIONS and not any(row.pays for row in self.rows)

    @property
    def idle(self) -> tuple[str, ...]:
        """Members that never filled anything: they pass because they do nothing."""
        return tuple(row.name for row in self.rows if row.fills == 0)

    @property
    def best(self) -> EdgeRow:
        """The member that comes nearest to paying."""
        return max(self.rows, key=lambda row: row.upper_99 if row.fills else -np.inf)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        values = {str(k): plain(v) for k, v in asdict(self).items()}
        return {**values, "valid": self.valid, "best": self.best.name, "idle": list(self.idle)}


def simulator_sha256() -> str:
    """Return a hash of the code that makes the market, without comments and docstrings: a certificate is of one market."""
    import marketdata.simulator

    folder = Path(str(marketdata.simulator.__file__)).parent
    digest = hashlib.sha256()
    own = [path for path in sorted(folder.glob("*.py")) if path.stem not in NO_MARKET]
    for path in (folder.parent / "matching.py", *own):
        digest.update(code_text(path).encode())
    return digest.hexdigest()


def tape_sha256(settings: Settings) -> str:
    """Return a hash of a short session of the null world, all instruments: other code with the same tape is the same market."""
    from marketdata.simulator.session import simulate_session

    simulator = SimulatorSettings(world="n1", signal=0.0, events_per_session=TAPE_EVENTS)
    world = settings.model_copy(update={"simulator": simulator})
    session = world.market_calendar().first_sessions(world.start_date, 1)[0]
    digest = hashlib.sha256()
    for symbol, ticks in sorted(simulate_session(world, session, 0).ticks.items()):
        digest.update(symbol.encode())
        for name in ticks.columns:
            digest.update(ticks[name].to_numpy().tobytes())
    return digest.hexdigest()


def code_text(path: Path) -> str:
    """Return a module's code without comments and docstrings: rewording is not another program."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [item for item in node.body if not _is_text(item)]
    return ast.dump(tree)


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def save_certificate(certificate: Certificate, path: Path | None = None) -> Path:
    """Write a certificate as JSON, whole or not at all; return where."""
    target = path or FOLDER / f"{certificate.world}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    temporary.write_text(json.dumps(certificate.to_dict(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(temporary, target)
    return target


def load_certificate(path: Path | None = None) -> Certificate:
    """Return a stored certificate; the one of N1 by default.

    Raises
    ------
    FileNotFoundError
        If it was never made.
    """
    values = json.loads((path or FOLDER / "n1.json").read_text(encoding="utf-8"))
    for name in ("valid", "best", "idle"):
        values.pop(name)
    rows: list[dict[str, Any]] = [{k: NEVER if v is None else v for k, v in row.items()} for row in values["rows"]]
    values["rows"] = tuple(EdgeRow(**row) for row in rows)
    for name in ("instruments", "taker_ppm", "maker_ppm"):
        values[name] = tuple(values[name])
    return Certificate(**values)
