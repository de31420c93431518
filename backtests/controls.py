"""Controls: how often the gate promotes where nothing pays, and where an edge that pays was planted.

*N0* takes the night's own tape and shifts every model's forecasts circularly in time, session by session, by at least half an
hour and ten horizons: what a forecast says then has nothing to do with what happens. Only screen and gate rerun. *N1*, *N2* and
*planted* are small worlds of their own (``backtests.worlds``) that run through everything. Results add up per version of the
gate in an append-only table, with exact binomial bounds; every run is named, so a night that is run again adds nothing.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from backtests.evidence import NightModels
from features.dataset import Dataset
from marketdata.clock import NS_PER_MINUTE
from marketdata.paths import DataRoot
from marketdata.settings import Settings
from models.append_only import append_only_triggers, create_database, has_table, reading, writing
from models.forecast import ForecastArray
from models.gate import assess, gate_version

World = Literal["n0", "n1", "n2", "planted"]
Int64 = npt.NDArray[np.int64]

CONFIDENCE: Final = 0.95
SHIFT_FLOOR_NS: Final = 30 * NS_PER_MINUTE
SHIFT_HORIZONS: Final = 10


@dataclass(frozen=True, slots=True)
class ControlResult:
    """Runs of one control world under one version of the gate.

    Attributes
    ----------
    key : str
        Names these runs: the same key is never counted twice.
    strength : float or None
        Oracle's net profit per round trip in median spreads, of planted worlds.
    runs, promoted : int
    reasons : dict of str to int
        How often each reason was given.
    note : str
        Why there are no runs, where there are none.
    form : str
        Of small worlds: a hash of what they are made of; runs of other forms do not add up.
    """

    world: World
    strength: float | None
    key: str
    gate_version: str
    runs: int
    promoted: int
    reasons: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    form: str = ""

    @property
    def expects(self) -> Literal["refuse", "promote"]:
        """What the gate ought to do in this world: promote where something that pays was planted, else refuse."""
        return expects(self.world, self.strength)


def expects(world: World, strength: float | None) -> Literal["refuse", "promote"]:
    """Return what the gate ought to do in a world: promote where something that pays was planted, else refuse."""
    return "promote" if world == "planted" and (strength or 0.0) > 0 else "refuse"


@dataclass(frozen=True, slots=True)
class ControlTotal:
    """All runs of one world and strength under one version of the gate; the bounds are exact at 95 %."""

    world: World
    strength: float | None
    runs: int
    promoted: int
    bound_low: float
    bound_high: float
    reasons: Mapping[str, int]

    @property
    def expects(self) -> Literal["refuse", "promote"]:
        """What the gate ought to do in this world."""
        return expects(self.world, self.strength)


def run_n0(
    dataset: Dataset,
    forecasts: Mapping[str, ForecastArray],
    baselines: Sequence[str],
    settings: Settings,
    *,
    shifts: int | None = None,
    seed: int,
    key: str = "",
    edge_margins: Mapping[str, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ControlResult:
    """Rerun screen and gate on the night's test rows with every model's forecasts shifted.

    Parameters
    ----------
    dataset : Dataset
        The test rows of all folds.
    forecasts : mapping of model to forecast array
        One forecast a row.
    baselines : sequence of str
        Which of them cannot be promoted.
    shifts : int, optional
        Runs; the gate's ``n0_shifts`` by default.
    seed : int
        Draws the shifts.
    key : str
        Names the runs when they are accumulated; by default a hash of dataset and seed.

    Returns
    -------
    ControlResult
        The engine's pessimistic profit is left out of the verdicts, so the rate is an upper bound of the gate's. No runs
        when the sessions are too short to shift by that much.
    """
    version = gate_version(settings.gate)
    wanted = settings.gate.n0_shifts if shifts is None else shifts
    own_key = key or f"{dataset.content_hash()[:16]}-{seed}"
    night = NightModels.build(dataset, forecasts, baselines, settings, edge_margins=edge_margins)
    floor = max(SHIFT_FLOOR_NS, SHIFT_HORIZONS * dataset.horizon_ns + 1)
    shifter = _Shifter.build(night, floor)
    if not shifter.is_possible or wanted == 0:
        note = f"no session is long enough to shift by {floor / NS_PER_MINUTE:.0f} minutes both ways"
        return ControlResult("n0", None, own_key, version, 0, 0, {}, note if wanted else "switched off in the settings")
    rng = np.random.default_rng(seed)
    reasons: Counter[str] = Counter()
    promoted = 0
    for k in range(wanted):
        evidence, _ = night.evidence(source=shifter.draw(rng))
        verdict = assess(evidence, settings.gate, dataset.horizon_ns, screen_only=True)
        promoted += verdict.promoted
        reasons[verdict.reason] += 1
        if progress is not None:
            progress(k + 1, wanted)
    return ControlResult("n0", None, own_key, version, wanted, promoted, dict(sorted(reasons.items())))


@dataclass(frozen=True, slots=True)
class _Shifter:
    """Draws circular shifts: which row's forecast each row gets."""

    parts: tuple[tuple[int, npt.NDArray[np.intp], Int64], ...]
    """Per session and instrument: position of the session, its rows in order, their times from the span's start."""
    spans: Mapping[int, int]
    floor: int
    rows: int

    @classmethod
    def build(cls, night: NightModels, floor: int) -> "_Shifter":
        dataset = night.dataset
        clock = night.screens[night.names[0]].clock
        parts, spans = [], {}
        for s in np.unique(dataset.session).tolist():
            start, span = int(clock.start[s]), int(clock.length[s]) * clock.period_ns
            if span <= 2 * floor:
                continue
            spans[s] = span
            for instrument in np.unique(dataset.instrument_id[dataset.session == s]).tolist():
                rows = np.flatnonzero((dataset.session == s) & (dataset.instrument_id == instrument))
                parts.append((s, rows, dataset.ts_recv[rows] - start))
        return cls(tuple(parts), spans, floor, len(dataset))

    @property
    def is_possible(self) -> bool:
        """Whether any session can be shifted; one that cannot keeps nothing of its own either: it is left untraded."""
        return len(self.spans) > 0

    def draw(self, rng: np.random.Generator) -> Int64:
        """Return one shift, the same for all instruments of a session."""
        source = np.arange(self.rows, dtype=np.int64)
        moved = {s: int(rng.integers(self.floor, span - self.floor)) for s, span in self.spans.items()}
        for s, rows, times in self.parts:
            wanted = (times - moved[s]) % self.spans[s]
            source[rows] = rows[np.searchsorted(times, wanted, side="right") - 1]
        return source


def exact_bounds(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a rate after ``k`` of ``n``; (0, 1) after none.

    References
    ----------
    Clopper, Pearson (1934). The use of confidence or fiducial limits illustrated in the case of the binomial. Biometrika 26.
    """
    from scipy.stats import beta

    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} is no count")
    if n == 0:
        return 0.0, 1.0
    tail = 0.5 * (1.0 - confidence)
    low = 0.0 if k == 0 else float(beta.ppf(tail, k, n - k + 1))
    high = 1.0 if k == n else float(beta.ppf(1.0 - tail, k + 1, n - k))
    return low, high


def world_seed(version: str, world: World, strength: float | None, index: int) -> int:
    """Return the seed of one small world: a hash of gate version, world and index, so that nobody picks seeds."""
    text = f"{version}:{world}:{strength}:{index}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF


_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS control_runs (
    gate_version TEXT NOT NULL, world TEXT NOT NULL, strength TEXT NOT NULL, key TEXT NOT NULL,
    runs INTEGER NOT NULL, promoted INTEGER NOT NULL, reasons TEXT NOT NULL,
    PRIMARY KEY (gate_version, world, strength, key)
);
""" + append_only_triggers("control_runs")


def accumulate(root: DataRoot, results: Sequence[ControlResult]) -> None:
    """Write control results down; what is there already under the same key stays as it is.

    Results without a run are not kept.
    """
    create_database(root.controls_database, _SCHEMA)
    with writing(root.controls_database) as database:
        for result in results:
            if result.runs == 0:
                continue
            database.execute(
                "INSERT OR IGNORE INTO control_runs VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    result.gate_version,
                    result.world,
                    _strength_text(result.strength),
                    f"{result.form}/{result.key}" if result.form else result.key,
                    result.runs,
                    result.promoted,
                    json.dumps(dict(result.reasons), sort_keys=True),
                ),
            )


def totals(root: DataRoot, version: str, form: str = "") -> list[ControlTotal]:
    """Return everything accumulated under a version of the gate, null worlds first, then planted ones by strength.

    Parameters
    ----------
    form : str
        Form of the small worlds that are counted; those of all forms when empty.
    """
    if not has_table(root.controls_database, "control_runs"):
        return []
    found: dict[tuple[str, str], list[Any]] = {}
    with reading(root.controls_database) as database:
        rows = database.execute(
            "SELECT world, strength, key, runs, promoted, reasons FROM control_runs WHERE gate_version = ?", (version,)
        ).fetchall()
    for world, strength, key, runs, promoted, reasons in rows:
        if form and world != "n0" and not str(key).startswith(f"{form}/"):
            continue
        entry = found.setdefault((world, strength), [0, 0, Counter()])
        entry[0] += runs
        entry[1] += promoted
        entry[2].update(json.loads(reasons))
    out = []
    for (world, strength), (runs, promoted, reasons) in found.items():
        low, high = exact_bounds(promoted, runs)
        number = float(strength) if strength else None
        out.append(ControlTotal(world, number, runs, promoted, low, high, dict(sorted(reasons.items()))))  # type: ignore[arg-type]  # the table holds worlds only
    return sorted(out, key=lambda t: (t.world, t.strength or 0.0))


def done_indices(root: DataRoot, version: str, world: World, strength: float | None, form: str) -> set[int]:
    """Return the indices of the small worlds of a kind that were run under a version of the gate."""
    if not has_table(root.controls_database, "control_runs"):
        return set()
    with reading(root.controls_database) as database:
        rows = database.execute(
            "SELECT key FROM control_runs WHERE gate_version = ? AND world = ? AND strength = ?",
            (version, world, _strength_text(strength)),
        ).fetchall()
    prefix = f"{form}/"
    return {int(str(key).removeprefix(prefix)) for (key,) in rows if str(key).startswith(prefix)}


def _strength_text(strength: float | None) -> str:
    return "" if strength is None else repr(float(strength))
