"""Every forecaster there is, written out. Importing this registers nothing and loads no heavy library."""

from typing import Any, Final

from marketdata.settings import Settings
from models import baselines
from models.forecaster import Forecaster
from models.gnn import GraphForecaster
from models.hawkes import HawkesForecaster
from models.hmm import RegimeForecaster
from models.linear import LinearForecaster
from models.transformer import TransformerForecaster

FORECASTERS: Final[dict[str, Forecaster]] = {
    "majority": baselines.MAJORITY,
    "persistence": baselines.PERSISTENCE,
    "last_trade_sign": baselines.LAST_TRADE_SIGN,
    "queue_imbalance": baselines.QUEUE_IMBALANCE,
    "time_of_day": baselines.TIME_OF_DAY,
    "linear": LinearForecaster(),
    "hawkes": HawkesForecaster(),
    "hmm": RegimeForecaster(),
    "transformer": TransformerForecaster(),
    "gnn": GraphForecaster(),
}
"""Forecasters by name."""

BASELINES: Final = tuple(name for name, item in FORECASTERS.items() if item.role == "baseline")
"""Names that every candidate has to beat, one by one."""
CANDIDATES: Final = tuple(name for name, item in FORECASTERS.items() if item.role == "candidate")
"""Names that may become champion."""


def forecaster(name: str) -> Forecaster:
    """Return a forecaster by name.

    Raises
    ------
    LookupError
        If there is none of that name; the message lists those there are.
    """
    found = FORECASTERS.get(name)
    if found is None:
        raise LookupError(f"unknown forecaster {name!r}; there are {', '.join(FORECASTERS)}")
    return found


def model_hyperparameters(name: str, settings: Settings) -> dict[str, Any]:
    """Return everything about a model that was chosen rather than fitted, as the trial ledger records it."""
    return {"model": name, **forecaster(name).hyperparameters(settings.training)}
