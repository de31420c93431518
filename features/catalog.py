"""The catalogue of features, written out: what each column is, in which unit, and how long it takes to be known."""

import re
from dataclasses import replace
from typing import Any, Final

from features import lead_lag
from features.aggressors import KIND_NAMES
from features.assembler import RowAssembler
from features.entry import CELLS, LEVELS, MIDDLE, FeatureEntry, forget_ns, span_name
from features.families import has_lead_lag
from features.signals.columns import SIGNAL_COLUMNS, SIGNALS
from features.spec import FeatureSpec
from marketdata.clock import NS_PER_DAY
from marketdata.settings import SamplingSettings, Settings

CKS_2014: Final = "Cont, Kukanov, Stoikov (2014). The price impact of order book events. J. Fin. Econometrics 12(1)."
CCZ_2023: Final = "Cont, Cucuringu, Zhang (2023). Cross-impact of order flow imbalance. Quantitative Finance 23(10)."
BNS_2004: Final = "Barndorff-Nielsen, Shephard (2004). Power and bipower variation. J. Fin. Econometrics 2(1)."
KYLE_1985: Final = "Kyle (1985). Continuous auctions and insider trading. Econometrica 53(6)."
ELO_2012: Final = "Easley, López de Prado, O'Hara (2012). Flow toxicity and liquidity. Rev. Fin. Studies 25(5)."
BMM_2015: Final = (
    "Bacry, Mastromatteo, Muzy (2015). Hawkes processes in finance. Market Microstructure and Liquidity 1(1)."
)
LR_1991: Final = "Lee, Ready (1991). Inferring trade direction from intraday data. J. Finance 46(2)."


_CORE_LAWS: Final[dict[str, dict[str, Any]]] = {
    "spread_ticks": {"price_power": 1},
    "spread_bps": {},
    "depth_imbalance_level": {"mirror": "odd", "may_be_unknown": True},
    "depth_imbalance_total": {"mirror": "odd"},
    "weighted_mid_bps": {"mirror": "odd"},
    "depth_relative": {},
    "mid_return_bps": {"mirror": "odd"},
    "ofi_best": {"mirror": "odd"},
    "ofi_multi": {"mirror": "odd"},
    "trade_imbalance": {"mirror": "odd"},
    "trade_intensity": {},
    "realised_vol_bps": {},
    "bipower_share": {"may_be_unknown": True},
    "toxicity": {"may_be_unknown": True},
    "kyle_lambda": {"price_power": 1, "may_be_unknown": True},
    "arrival_imbalance": {"mirror": "odd"},
    "cancel_imbalance": {"mirror": "odd"},
    "signed_volume": {"mirror": "odd"},
    "momentum": {"mirror": "odd", "price_power": None},
    "last_trade_sign": {"mirror": "odd"},
    "mid_age": {},
    "hawkes_s_buy": {"mirror": "hawkes_s_sell", "joins": "decays"},
    "hawkes_s_sell": {"mirror": "hawkes_s_buy", "joins": "decays"},
    "hawkes_s_mid_up": {"mirror": "hawkes_s_mid_down", "joins": "decays"},
    "hawkes_s_mid_down": {"mirror": "hawkes_s_mid_up", "joins": "decays"},
    "time_of_day": {},
    "time_of_day_sin": {},
    "time_of_day_cos": {},
}
"""How the core's formulas scale, mirror and join; a missing word is the entry's default."""
_SUFFIX: Final = re.compile(r"_(\d+(ns|us|ms|s|h)?)$")


def _with_laws(entry: FeatureEntry) -> FeatureEntry:
    """Return a core entry with the laws of its formula."""
    stem = _SUFFIX.sub("", entry.name)
    key = "depth_imbalance_level" if stem.startswith("depth_imbalance_l") else stem
    laws = dict(_CORE_LAWS[key])
    if laws.get("mirror", "").startswith("hawkes"):
        laws["mirror"] += entry.name[len(stem) :]
        key = "hawkes_s"
    if key.startswith("time_of_day"):
        key = "time_of_day"
    if key == "depth_imbalance_level" and entry.name.endswith("_l1"):
        laws["may_be_unknown"] = False
    return replace(entry, key=key, **laws)


def catalogue(spec: FeatureSpec) -> tuple[FeatureEntry, ...]:
    """Return one entry a raw feature, in column order."""
    windows = spec.sampling.windows_ns
    entries = [*_book_entries(windows[-1]), *_window_entries(windows), *_flow_entries(windows), *_count_entries(spec)]
    if spec.time_of_day:
        share = "share u of the session that has passed"
        entries.append(_instant("time_of_day", "1", share, needs_book=False))
        entries.append(_instant("time_of_day_sin", "1", f"sin 2πu, u: {share}", needs_book=False))
        entries.append(_instant("time_of_day_cos", "1", f"cos 2πu, u: {share}", needs_book=False))
    own = [feature.entry() for feature in spec.own.features] if spec.own else []
    return (*(_with_laws(entry) for entry in entries), *spec.further, *own)


def dataset_catalogue(settings: Settings) -> tuple[FeatureEntry, ...]:
    """Return one entry a column of the dataset, in column order: raw, cross-instrument, slow."""
    assembler = RowAssembler(settings)
    slow = (_SLOW[name] for kind in assembler.kinds for name in SIGNAL_COLUMNS[kind])
    return (*catalogue(assembler.spec), *cross_catalogue(settings.sampling), *slow)


def cross_catalogue(sampling: SamplingSettings) -> tuple[FeatureEntry, ...]:
    """Return one entry a column made of several instruments' rows, in column order."""
    further = lead_lag.entries(sampling) if has_lead_lag(sampling.families) else []
    return (*_cross_entries(sampling.windows_ns), *further)


def _cross_entries(windows: tuple[int, ...]) -> list[FeatureEntry]:
    """Return the entries of what is made of other instruments' latest rows, which may be one longest window old."""
    texts = {
        "peer_return": ("bps", "mean over the peers of their latest mid_return_bps_{}"),
        "peer_ofi": ("1", "mean over the peers of their latest ofi_best_{}"),
        "peer_extreme": ("bps", "latest mid_return_bps_{} of the peer that moved most"),
        "relative_return": ("bps", "own mid_return_bps_{} minus the peers' mean"),
    }
    return [
        FeatureEntry(
            f"{family}_{span_name(ns)}",
            unit,
            text.format(span_name(ns)),
            "",
            ns,
            ns + windows[-1],
            False,
            family="cross",
            key=family,
            mirror="odd",
            may_be_unknown=True,
        )
        for family, (unit, text) in texts.items()
        for ns in windows[: MIDDLE + 1]
    ]


_SLOW: Final = {
    entry.name: FeatureEntry(
        entry.name,
        entry.unit,
        entry.formula,
        entry.reference,
        0,
        entry.memory_days * NS_PER_DAY,
        False,
        family=kind,
        key=entry.name,
        may_be_unknown=True,
    )
    for kind, entries in SIGNALS.items()
    for entry in entries
}
"""Slow signals: how far back the value reaches counts the session that it may be carried over."""


def _instant(name: str, unit: str, formula: str, *, needs_book: bool = True) -> FeatureEntry:
    return FeatureEntry(name, unit, formula, "", 0, 0, needs_book)


def _windowed(name: str, unit: str, formula: str, reference: str, ns: int, *, needs_book: bool) -> FeatureEntry:
    return FeatureEntry(name, unit, formula, reference, ns, ns, needs_book)


def _grid(name: str, unit: str, formula: str, reference: str, ns: int, *, needs_book: bool) -> FeatureEntry:
    """Return an entry on the fixed grid: the cells of one window, and up to one cell in which the row lies."""
    cell = ns // CELLS
    return FeatureEntry(name, unit, formula, reference, CELLS * cell, (CELLS + 1) * cell, needs_book)


def _book_entries(longest: int) -> list[FeatureEntry]:
    span = span_name(longest)
    levels = [
        _instant(f"depth_imbalance_l{m}", "1", f"(bid lots - ask lots) / (bid lots + ask lots) at level {m}")
        for m in (1, 2, 3)
    ]
    relative = f"log of (best bid lots + best ask lots) over its mean at group ends in the last {span}"
    return [
        _instant("spread_ticks", "ticks", "best ask - best bid"),
        _instant("spread_bps", "bps", "1e4 (best ask - best bid) / mid"),
        *levels,
        _instant("depth_imbalance_total", "1", f"(bid lots - ask lots) / (bid lots + ask lots) over {LEVELS} levels"),
        _instant("weighted_mid_bps", "bps", "1e4 (size-weighted mid - mid) / mid, (qb Pa + qa Pb) / (qa + qb)"),
        _windowed(f"depth_relative_{span}", "1", relative, "", longest, needs_book=True),
    ]


def _window_entries(windows: tuple[int, ...]) -> list[FeatureEntry]:
    longest = windows[-1]
    depth = "mean lots of a level in the window"
    entries = []
    for ns in windows:
        text = f"1e4 (mid - mid {span_name(ns)} ago) / mid; last execution's price where there is no book"
        entries.append(_windowed(f"mid_return_bps_{span_name(ns)}", "bps", text, "", ns, needs_book=False))
    for ns in windows:
        text = f"Σ e_n at the best level over {span_name(ns)} / {depth}"
        entries.append(_windowed(f"ofi_best_{span_name(ns)}", "1", text, CKS_2014, ns, needs_book=True))
    for ns in windows:
        text = f"mean over {LEVELS} levels of Σ e_n over {span_name(ns)} / {depth}"
        entries.append(_windowed(f"ofi_multi_{span_name(ns)}", "1", text, CCZ_2023, ns, needs_book=True))
    for ns in windows:
        text = f"(buying - selling aggressors' lots) / their sum over {span_name(ns)}; 0 without trades"
        entries.append(_windowed(f"trade_imbalance_{span_name(ns)}", "1", text, LR_1991, ns, needs_book=False))
    for ns in windows[:-1]:
        text = f"log(1 + aggressors in {span_name(ns)}) - log(1 + as many as {span_name(longest)} had on average)"
        name = f"trade_intensity_{span_name(ns)}"
        entries.append(FeatureEntry(name, "1", text, "", longest, longest, False))
    name = f"trade_intensity_{span_name(longest)}"
    text = f"log(1 + aggressors in {span_name(longest)})"
    entries.append(_windowed(name, "1", text, "", longest, needs_book=False))
    for ns in windows:
        text = f"sqrt(Σ squared mid moves over {CELLS} grid cells of {span_name(ns)}) / mid"
        entries.append(_grid(f"realised_vol_bps_{span_name(ns)}", "bps", text, BNS_2004, ns, needs_book=False))
    return entries


def _flow_entries(windows: tuple[int, ...]) -> list[FeatureEntry]:
    middle, longest = windows[MIDDLE], windows[-1]
    short, long = span_name(middle), span_name(longest)
    bipower = "π/2 Σ |r_j| |r_j-1| · n/(n-1) over Σ r_j², the share of variance without jumps; NaN without moves"
    toxicity = f"Σ |signed lots| / Σ lots over {CELLS} time cells: VPIN's form on time cells, not volume buckets"
    kyle = "slope of mid move (ticks) on signed lots over the grid, times the mean best depth"
    arrival = f"(bid - ask) / sum of lots that came to the best quotes in {short}"
    cancel = f"(bid - ask) / sum of lots cancelled from the best quotes in {short}"
    signed = f"(buying - selling lots) in {long} / mean best depth"
    momentum = f"return over {short} / sqrt(variance of the {long} grid scaled to {short} + one tick squared)"
    age = f"time since the mid moved, cut at {long}, over {long}"
    last = f"sign of the last aggressor; 0 if it is older than {long}"
    return [
        _grid(f"bipower_share_{long}", "1", bipower, BNS_2004, longest, needs_book=False),
        _grid(f"toxicity_{long}", "1", toxicity, ELO_2012, longest, needs_book=False),
        _grid(f"kyle_lambda_{long}", "ticks", kyle, KYLE_1985, longest, needs_book=True),
        _windowed(f"arrival_imbalance_{short}", "1", arrival, "", middle, needs_book=True),
        _windowed(f"cancel_imbalance_{short}", "1", cancel, "", middle, needs_book=True),
        _windowed(f"signed_volume_{long}", "1", signed, "", longest, needs_book=True),
        _grid(f"momentum_{short}", "1", momentum, "", longest, needs_book=False),
        FeatureEntry("last_trade_sign", "1", last, LR_1991, 0, longest, False),
        FeatureEntry("mid_age", "1", age, "", 0, longest, False),
    ]


def _count_entries(spec: FeatureSpec) -> list[FeatureEntry]:
    entries = []
    for kind in KIND_NAMES:
        for k, decay in enumerate(spec.sampling.decays_per_s):
            text = f"Σ exp(-{decay:g} (t - t_i)) over {kind.replace('_', ' ')} points strictly before t"
            lag = forget_ns(decay)
            needs_book = kind.startswith("mid")
            entries.append(FeatureEntry(f"hawkes_s_{kind}_{k}", "1", text, BMM_2015, lag, lag, needs_book))
    return entries
