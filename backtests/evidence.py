"""The night's evidence: every model's screen and log loss on one clock, as the gate wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from backtests.replay import sessions_per_year
from backtests.screen import Screen, ScreenResult, align_forecasts, forecast_values
from features.dataset import LABEL_MISSING, Dataset
from marketdata.settings import Settings
from models.evidence import Evidence
from models.forecast import ForecastArray

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

PROBABILITY_FLOOR: Final = 1e-6
"""A forecast of less than this for what happened counts as this: the quantum of a forecast."""
SEARCHED_MARGINS: Final = (0.0, 0.5, 1.0)
"""Entry margins that a night tries for every candidate beside the strategy's own (docs/decisions/0139)."""


def searched_margins(settings: Settings) -> tuple[float, ...]:
    """Return the margins of :data:`SEARCHED_MARGINS` that are not the strategy's own."""
    return tuple(m for m in SEARCHED_MARGINS if m != settings.strategy.edge_margin)


def configuration_name(model: str, edge_margin: float) -> str:
    """Return the name of a candidate under another margin than the strategy's own."""
    return f"{model} at margin {edge_margin:g}"


@njit(cache=True)
def _interval_loss(
    log_p: Float64, classes: npt.NDArray[np.int8], interval: Int64, source: Int64, count: Int64, out: Float64
) -> None:
    shifted = len(source) > 0
    for i in range(len(classes)):
        if classes[i] >= 0:
            place = source[i] if shifted else i
            out[interval[i]] -= log_p[place, classes[i]]
    for t in range(len(out)):
        out[t] = out[t] / count[t] if count[t] > 0 else np.nan


@dataclass(frozen=True, slots=True)
class NightModels:
    """All models' forecasts of the same test rows, prepared to be turned into evidence many times.

    Attributes
    ----------
    candidates, baselines : tuple of str
    """

    dataset: Dataset
    settings: Settings
    candidates: tuple[str, ...]
    baselines: tuple[str, ...]
    screens: Mapping[str, Screen]
    _values: Mapping[str, Float64]
    _log_p: Mapping[str, Float64]
    _classes: npt.NDArray[np.int8]
    _count: Int64
    _sessions_per_year: float

    @classmethod
    def build(
        cls,
        dataset: Dataset,
        forecasts: Mapping[str, ForecastArray],
        baselines: Sequence[str],
        settings: Settings,
        *,
        edge_margins: Mapping[str, float] | None = None,
    ) -> "NightModels":
        """Prepare models.

        Parameters
        ----------
        dataset : Dataset
            The test rows of all folds.
        forecasts : mapping of model to forecast array
            One forecast a row; names not in ``baselines`` are candidates.
        edge_margins : mapping of model to float, optional
            Margin of a model's taker where it was chosen on training rows; the settings' otherwise.
        """
        common = Screen.build(dataset, settings)
        margins = edge_margins or {}
        screens = {
            name: Screen.build(dataset, settings, edge_margin=margins[name]) if name in margins else common
            for name in forecasts
        }
        values = {name: forecast_values(align_forecasts(dataset, rows)) for name, rows in forecasts.items()}
        log_p = {name: np.log(np.maximum(v[:, :3], PROBABILITY_FLOOR)) for name, v in values.items()}
        classes = np.where(dataset.y == LABEL_MISSING, -1, dataset.y + 1).astype(np.int8)
        count = np.bincount(common.clock.row_interval[classes >= 0], minlength=len(common.clock.ts_ns)).astype(np.int64)
        return cls(
            dataset,
            settings,
            tuple(name for name in forecasts if name not in baselines),
            tuple(name for name in forecasts if name in baselines),
            screens,
            values,
            log_p,
            classes,
            count,
            sessions_per_year(settings),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Candidates, then baselines."""
        return self.candidates + self.baselines

    @property
    def classes(self) -> npt.NDArray[np.int8]:
        """Class of each row: 0 down, 1 flat, 2 up, -1 where the label is missing."""
        return self._classes

    def probabilities(self, name: str) -> Float64:
        """Return one model's probabilities of down, flat, up, shape (n, 3)."""
        return self._values[name][:, :3]

    def row_losses(self, name: str) -> Float64:
        """Return one model's log loss of each row, NaN where the label is missing."""
        chosen = np.take_along_axis(self._log_p[name], np.maximum(self._classes, 0)[:, None].astype(np.intp), axis=1)
        return np.where(self._classes >= 0, -chosen[:, 0], np.nan)

    def screen(self, name: str, source: Int64 | None = None) -> ScreenResult:
        """Return one model's screen; ``source`` as in :meth:`backtests.screen.Screen.run`."""
        return self.screens[name].run_values(self._values[name], source)

    def configurations(self, margins: Sequence[float]) -> dict[str, ScreenResult]:
        """Return the screens of every candidate under other entry margins, by :func:`configuration_name`."""
        screens = {m: Screen.build(self.dataset, self.settings, edge_margin=m) for m in margins}
        return {
            configuration_name(name, margin): screen.run_values(self._values[name])
            for name in self.candidates
            for margin, screen in screens.items()
        }

    def losses(self, name: str, source: Int64 | None = None) -> Float64:
        """Return one model's mean log loss by interval of the clock, NaN where no row has a label."""
        clock = self.screens[name].clock
        out = np.zeros(len(clock.ts_ns), np.float64)
        shift = source if source is not None else np.zeros(0, np.int64)
        _interval_loss(self._log_p[name], self._classes, clock.row_interval, shift, self._count, out)
        return out

    def evidence(
        self,
        *,
        source: Int64 | None = None,
        trials: int = 1,
        pessimistic_pnl: Mapping[str, float] | None = None,
        configurations: Mapping[str, ScreenResult] | None = None,
    ) -> tuple[Evidence, dict[str, ScreenResult]]:
        """Return what the gate is given, and each model's screen.

        Parameters
        ----------
        source : int64 array, optional
            Row whose forecast each row gets: control shifts.
        trials : int
            N raw of the trial ledger.
        pessimistic_pnl : mapping of model to float, optional
            Pessimistic end of the backtest band of those that were backtested.
        configurations : mapping of name to ScreenResult, optional
            What else was searched over (:meth:`configurations`).
        """
        results = {name: self.screen(name, source) for name in self.names}
        clock = self.screens[self.names[0]].clock
        found = Evidence(
            candidates=self.candidates,
            baselines=self.baselines,
            pnl={name: r.pnl for name, r in results.items()},
            loss={name: self.losses(name, source) for name in self.names},
            day=clock.day,
            days=clock.days,
            round_trips={name: r.round_trips for name, r in results.items()},
            pessimistic_pnl=dict(pessimistic_pnl or {}),
            holding_ns={name: r.holding_ns for name, r in {**results, **(configurations or {})}.items()},
            trials=trials,
            sessions_per_year=self._sessions_per_year,
            configurations={name: r.pnl for name, r in (configurations or {}).items()},
        )
        return found, results


def night_evidence(
    dataset: Dataset,
    forecasts: Mapping[str, ForecastArray],
    baselines: Sequence[str],
    settings: Settings,
    *,
    trials: int,
    pessimistic_pnl: Mapping[str, float] | None = None,
    edge_margins: Mapping[str, float] | None = None,
) -> tuple[Evidence, dict[str, ScreenResult]]:
    """Return the gate's evidence for a night and each model's screen; parameters as :meth:`NightModels.build`."""
    night = NightModels.build(dataset, forecasts, baselines, settings, edge_margins=edge_margins)
    return night.evidence(trials=trials, pessimistic_pnl=pessimistic_pnl)
