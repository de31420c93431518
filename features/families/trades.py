"""Trades over windows: counts, prices paid, what the spread really cost, and what the price did after."""

import math
from typing import Final

from numba import njit

from features.entry import MIDDLE, FeatureEntry, span_name
from features.families.windows import window_base, window_is_full, windowed
from features.state import (
    C_BUY_LOTS,
    C_BUYS,
    C_SELL_LOTS,
    C_SELLS,
    E_BUY_VALUE,
    E_EARNED,
    E_HIDDEN,
    E_LOTS,
    E_MARK,
    E_MARK_LOTS,
    E_PAID,
    E_PAID_LOTS,
    E_SELL_VALUE,
    E_VALUE,
    S_MID2,
    S_SINCE,
    FeatureState,
    Float64,
    Plan,
)
from marketdata.settings import SamplingSettings

LR_1991: Final = "Lee, Ready (1991). Inferring trade direction from intraday data. J. Finance 46(2)."
BLN_1988: Final = "Berkowitz, Logue, Noser (1988). The total cost of transactions on the NYSE. J. Finance 43(1)."
HS_1996: Final = "Huang, Stoll (1996). Dealer versus auction markets. J. Financial Economics 41(3)."
BESSEMBINDER_2003: Final = (
    "Bessembinder (2003). Trade execution costs and market quality after decimalization. JFQA 38(4)."
)
HH_2012: Final = "Hautsch, Huang (2012). On the dark side of the market: hidden order placements. SSRN 1961013."
EO_1987: Final = (
    "Easley, O'Hara (1987). Price, trade size, and information in securities markets. J. Fin. Economics 19(1)."
)
KARPOFF_1987: Final = "Karpoff (1987). The relation between price changes and trading volume. JFQA 22(1)."


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    windows = sampling.windows_ns
    middle, longest = windows[MIDDLE], windows[-1]
    short, long = span_name(middle), span_name(longest)
    horizons = windows[: MIDDLE + 1]
    late = f"of executions whose markout became known, no later than {short} after it was due, in"
    deviation = [
        windowed(
            "trades",
            "vwap_deviation_bps",
            "bps",
            f"1e4 (mid - Σ price lots / Σ lots of the executions in {span_name(ns)}) / mid; 0 without any",
            BLN_1988,
            ns,
            needs_book=False,
            mirror="odd",
        )
        for ns in windows
    ]
    markouts = [
        windowed(
            "trades",
            key,
            "bps",
            f"1e4 Σ s lots {distance} / (Σ lots · mid), s the aggressor's sign, {late} {long}; 0 without any",
            reference,
            ns,
            memory_ns=longest + middle + ns,
            warmup_ns=longest + middle + ns,
            name=f"{key}_{span_name(ns)}",
        )
        for key, distance, reference in (
            ("markout_bps", "(mid after {} - mid before)", HS_1996),
            ("realised_spread_bps", "2 (price - mid after {})", BESSEMBINDER_2003),
        )
        for ns, distance in ((ns, distance.format(span_name(ns))) for ns in horizons)
    ]
    return [
        windowed(
            "trades",
            "trade_count_imbalance",
            "1",
            f"(buying - selling aggressors) / their number in {short}; 0 without any",
            LR_1991,
            middle,
            needs_book=False,
            mirror="odd",
        ),
        *deviation,
        windowed(
            "trades",
            "vwap_gap_bps",
            "bps",
            f"1e4 (buyers' - sellers' mean price in {long}) / mid; NaN without both",
            BLN_1988,
            longest,
            needs_book=False,
            may_be_unknown=True,
        ),
        windowed(
            "trades",
            "volume_relative",
            "1",
            f"lots executed in {short} / as many as {long} had on average; 0 without any",
            KARPOFF_1987,
            middle,
            needs_book=False,
            warmup_ns=longest,
            memory_ns=longest,
        ),
        windowed(
            "trades",
            "trade_size_relative",
            "1",
            f"ln(mean lots of an aggressor in {short} / in {long}); 0 without any in {short}",
            EO_1987,
            middle,
            needs_book=False,
            warmup_ns=longest,
            memory_ns=longest,
        ),
        windowed(
            "trades",
            "hidden_share",
            "1",
            f"lots of hidden executions / lots executed in {long}; 0 without any",
            HH_2012,
            longest,
        ),
        windowed(
            "trades",
            "effective_spread_bps",
            "bps",
            f"1e4 Σ 2 s lots (price - mid before) / (Σ lots · mid) in {long}; 0 without any",
            HS_1996,
            longest,
        ),
        *markouts,
    ]


@njit(cache=True)
def write_trades(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    total = state.total
    spans = len(plan.windows)
    mid2 = float(state.at[S_MID2])
    middle = window_base(state, MIDDLE)
    has_middle = window_is_full(plan, state, MIDDLE, now)
    if has_middle:
        buys = total[C_BUYS] - middle[C_BUYS]
        sells = total[C_SELLS] - middle[C_SELLS]
        out[column] = (buys - sells) / max(buys + sells, 1)
    for w in range(spans):
        if window_is_full(plan, state, w, now):
            base = window_base(state, w)
            lots = total[E_LOTS] - base[E_LOTS]
            # Taken against the mid in integers: sums that wrapped around come back exact.
            below = lots * state.at[S_MID2] - 2 * (total[E_VALUE] - base[E_VALUE])
            out[column + 1 + w] = 1e4 * (below / max(lots, 1)) / mid2
    column += 1 + spans
    longest = spans - 1
    if not window_is_full(plan, state, longest, now):
        return
    base = window_base(state, longest)
    bought = total[C_BUY_LOTS] - base[C_BUY_LOTS]
    sold = total[C_SELL_LOTS] - base[C_SELL_LOTS]
    if bought > 0 and sold > 0:
        above = 2 * (total[E_BUY_VALUE] - base[E_BUY_VALUE]) - bought * state.at[S_MID2]
        below = 2 * (total[E_SELL_VALUE] - base[E_SELL_VALUE]) - sold * state.at[S_MID2]
        out[column] = 1e4 * (above / bought - below / sold) / mid2
    lots = total[E_LOTS] - base[E_LOTS]
    if has_middle:
        share = plan.windows[MIDDLE] / plan.windows[longest]
        out[column + 1] = (total[E_LOTS] - middle[E_LOTS]) / (max(lots, 1) * share)
        few = total[C_BUYS] + total[C_SELLS] - middle[C_BUYS] - middle[C_SELLS]
        many = total[C_BUYS] + total[C_SELLS] - base[C_BUYS] - base[C_SELLS]
        few_lots = total[C_BUY_LOTS] + total[C_SELL_LOTS] - middle[C_BUY_LOTS] - middle[C_SELL_LOTS]
        out[column + 2] = math.log(few_lots / few * (many / (bought + sold))) if few > 0 and few_lots > 0 else 0.0
    if not plan.has_book:
        return
    out[column + 3] = (total[E_HIDDEN] - base[E_HIDDEN]) / max(lots, 1)
    paid_lots = max(total[E_PAID_LOTS] - base[E_PAID_LOTS], 1)
    out[column + 4] = 2e4 * ((total[E_PAID] - base[E_PAID]) / paid_lots) / mid2
    for h in range(MIDDLE + 1):
        if now - state.at[S_SINCE] < plan.windows[longest] + plan.windows[MIDDLE] + plan.windows[h]:
            continue
        marked = max(total[E_MARK_LOTS + h] - base[E_MARK_LOTS + h], 1)
        out[column + 5 + h] = 1e4 * ((total[E_MARK + h] - base[E_MARK + h]) / marked) / mid2
        out[column + 6 + MIDDLE + h] = 2e4 * ((total[E_EARNED + h] - base[E_EARNED + h]) / marked) / mid2
