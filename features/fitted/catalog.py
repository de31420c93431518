"""The catalogue of fitted features, written out: which members there are and which columns they make."""

from dataclasses import replace
from typing import Final

from features.aggressors import KIND_NAMES
from features.catalog import BMM_2015
from features.entry import FeatureEntry, forget_ns
from features.fitted.anomaly import Anomaly
from features.fitted.family import FittedFeature
from features.fitted.integrated_ofi import IntegratedOfi
from features.fitted.microprice import MicroPrice
from features.fitted.volume_curve import VolumeCurve
from marketdata.settings import Settings

FITTED: Final[dict[str, FittedFeature]] = {
    member.name: member for member in (MicroPrice(), IntegratedOfi(), VolumeCurve(), Anomaly())
}
"""Members that look at a row alone, by name, in the order of their columns in a design."""

INTENSITY_COLUMNS: Final = (
    *(f"hawkes_log_{kind}" for kind in KIND_NAMES),
    "hawkes_trade_contrast",
    "hawkes_mid_contrast",
)
"""Columns made of the Hawkes intensities."""

REGIMES: Final = 3
"""Regimes that the hidden Markov model tells apart."""

HAMILTON_1989: Final = "Hamilton (1989). A new approach to nonstationary time series. Econometrica 57(2)."


def fitted_catalogue(settings: Settings) -> tuple[FeatureEntry, ...]:
    """Return one entry a fitted column, in the order in which a design with every part holds them; the key names the part."""
    windows = settings.sampling.windows_ns
    lag = max(forget_ns(decay) for decay in settings.sampling.decays_per_s)
    text = "P(regime {} | rows up to here): forward filter of a fitted Gaussian hidden Markov model, less 1/{}"
    entries = [
        FeatureEntry(f"regime_{k}", "1", text.format(k, REGIMES), HAMILTON_1989, 0, windows[-1], False, key="regimes")
        for k in range(REGIMES)
    ]
    for name in INTENSITY_COLUMNS:
        words = name.removeprefix("hawkes_").replace("_", " ")
        formula = f"{words}: fitted baseline at this time of day + Σ α β S of the decayed counts"
        unit = "log 1/s" if "log" in name else "1"
        entries.append(FeatureEntry(name, unit, formula, BMM_2015, lag, lag, False, key="hawkes"))
    for member in FITTED.values():
        entries += [replace(entry, key=member.name) for entry in member.entries(windows)]
    return tuple(replace(entry, family="fitted") for entry in entries)
