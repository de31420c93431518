"""Option signals: who is bought and how unusually, what the smile says, what open interest says, implied against realised.

What a snapshot says is known at its ``ts_known``; a baseline is made of earlier sessions only. Volumes of one contract
are never summed over snapshots: some exchanges publish a rolling 24-hour figure.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from features.signals.columns import SIGNAL_COLUMNS
from features.signals.options_baseline import SHORT_TENOR_DAYS, unusual_activity
from features.signals.options_exposure import (
    dealer_gamma,
    interest_change,
    realised_volatility,
    underlying_path,
)
from features.signals.options_smile import expiry_smile, term_structure
from marketdata.clock import Session
from marketdata.settings import Settings

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]
Path = dict[str, tuple[npt.NDArray[np.int64], Float64]]

YEAR_DAYS = 365.0
_ORDER = ("ts_known", "symbol", "expiry_ns", "is_call", "strike", "contract")
_COLUMNS = ("strike", "iv", "delta", "open_interest", "interest_before", "volume", "volume_usd", "underlying", "days")
_FLAGS = ("is_call", "is_unusual", "is_known")


def options_signals(history: Sequence[pl.DataFrame], settings: Settings, session: Session) -> pl.DataFrame:
    """Return the option signals of the last session in ``history``, one row a snapshot and symbol.

    Parameters
    ----------
    history : sequence of pl.DataFrame
        Raw option frames, one a session, oldest first, the session's own last, with the columns of
        ``marketdata.slow_data.SLOW_SCHEMAS``.
    settings : Settings
        Symbols that the data root does not have are left out.
    session : Session
        Unused beyond its place in ``history``: every row carries its own time.

    Returns
    -------
    pl.DataFrame
        ``ts_known, symbol`` and, as float64 with NaN for unknown:

        - ``options_unusual_score``: premium of unusual short-dated calls minus puts over their sum, 0 where nothing is
          unusual, NaN without any baseline; ``options_unusual_share``: unusual over all short-dated premium.
        - ``options_volume_imbalance``, ``options_interest_imbalance``: contracts of calls minus puts over their sum, traded and
          open. ``options_interest_change``: change of open calls minus change of open puts since the session before,
          over all that was open then; a change is known when the later figure is published.
        - ``options_skew``, ``options_butterfly``, ``options_atm_iv``: at 30 days, see ``options_smile``;
          ``options_term_slope``, ``options_term_curvature``: of at-the-money volatility over log tenor.
        - ``options_gamma_ratio``: dealers' net gamma over its gross, see ``options_exposure.dealer_gamma``.
        - ``options_iv_realised``: log of at-the-money over realised volatility of the last 30 days.
    """
    names = SIGNAL_COLUMNS["options"]
    symbols = [item.symbol for item in settings.instruments]
    frames = [frame.filter(pl.col("symbol").is_in(symbols)) for frame in history]
    if not frames[-1].height:
        return _frame([], [], np.empty((0, len(names))))
    earlier = frames[:-1]
    marked = unusual_activity(frames[-1], earlier)
    marked = interest_change(marked, earlier[-1] if earlier else frames[-1].clear()).sort(_ORDER)
    path: Path = {
        str(symbol): (part.get_column("ts_snapshot").to_numpy(), part.get_column("underlying").to_numpy())
        for (symbol,), part in underlying_path(frames).partition_by("symbol", as_dict=True).items()
    }
    value = {name: marked.get_column(name).cast(pl.Float64).fill_null(np.nan).to_numpy() for name in _COLUMNS}
    flag = {name: marked.get_column(name).to_numpy().astype(np.bool_) for name in _FLAGS}
    moment = {name: marked.get_column(name).to_numpy() for name in ("ts_known", "ts_snapshot", "expiry_ns")}
    name_of = marked.get_column("symbol").to_list()
    is_first = marked.select(pl.struct("ts_known", "symbol").rle_id().diff().fill_null(1) > 0).to_series().to_numpy()
    starts = np.flatnonzero(is_first).tolist()
    found = []
    for start, end in zip(starts, [*starts[1:], marked.height], strict=True):
        part = slice(start, end)
        mine = {name: column[part] for name, column in value.items()}
        flags = {name: column[part] for name, column in flag.items()}
        moments = {name: column[part] for name, column in moment.items()}
        found.append(_snapshot_values(mine, flags, moments, *path[name_of[start]]))
    return _frame(moment["ts_known"][starts].tolist(), [name_of[start] for start in starts], np.array(found))


def _frame(ts: list[int], symbols: list[str], values: Float64) -> pl.DataFrame:
    names = SIGNAL_COLUMNS["options"]
    columns = {"ts_known": ts, "symbol": symbols, **{name: values[:, k] for k, name in enumerate(names)}}
    return pl.DataFrame(columns, schema={"ts_known": pl.Int64, "symbol": pl.String, **dict.fromkeys(names, pl.Float64)})


def _snapshot_values(
    value: dict[str, Float64],
    flag: dict[str, Bool],
    moment: dict[str, npt.NDArray[np.int64]],
    times: npt.NDArray[np.int64],
    prices: Float64,
) -> list[float]:
    """Return the values of one snapshot of one symbol, in the order of the columns."""
    is_call, is_unusual, is_known = (flag[name] for name in _FLAGS)
    short = value["days"] < SHORT_TENOR_DAYS
    premium = np.nan_to_num(value["volume_usd"])
    score = share = np.nan
    if is_known.any():
        score = _imbalance(np.where(is_unusual & short, premium, 0.0), is_call, empty=0.0)
        whole = float(premium[short].sum())
        share = float(premium[short & is_unusual].sum()) / whole if whole > 0 else 0.0
    before = value["interest_before"]
    change = np.nan
    if np.nansum(before) > 0:
        moved = value["open_interest"] - before
        change = float(np.nansum(np.where(is_call, moved, -moved)) / np.nansum(before))
    expiry = moment["expiry_ns"]
    cuts = np.flatnonzero(np.diff(expiry)) + 1
    smiles = [
        expiry_smile(
            float(value["days"][part[0]]), value["strike"][part], value["iv"][part], value["delta"][part], is_call[part]
        )
        for part in np.split(np.arange(len(expiry)), cuts)
    ]
    term = term_structure(smiles)
    net, gross = dealer_gamma(
        value["underlying"], value["strike"], value["iv"], value["days"] / YEAR_DAYS, value["open_interest"], is_call
    )
    realised = realised_volatility(times, prices, int(moment["ts_snapshot"][0]))
    return [
        score,
        _imbalance(value["volume"], is_call),
        term.skew,
        term.atm,
        share,
        _imbalance(value["open_interest"], is_call),
        change,
        term.butterfly,
        term.slope,
        term.curvature,
        net / gross if gross > 0 else np.nan,
        float(np.log(term.atm / realised)) if realised > 0 else np.nan,
    ]


def _imbalance(size: Float64, is_call: Bool, empty: float = np.nan) -> float:
    """Return (calls - puts) / (calls + puts), ``empty`` where there is neither."""
    calls, puts = float(np.nansum(size[is_call])), float(np.nansum(size[~is_call]))
    return (calls - puts) / (calls + puts) if calls + puts > 0 else empty


def options_summary(history: Sequence[pl.DataFrame], frame: pl.DataFrame, session: Session) -> str:
    """Return what the report says of a session's option signals: how many snapshots, and whether a baseline was there."""
    if not frame.height:
        return "no snapshot, insufficient"
    known = int(frame.get_column("options_unusual_score").is_not_nan().sum())
    word = "" if known == frame.height else ", insufficient history at the others"
    return f"{frame.height} snapshots of {frame['symbol'].n_unique()} symbols, unusual activity known at {known}{word}"
