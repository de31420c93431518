"""Flow: what comes to, leaves and is taken from the best queues, and order flow imbalance with a fading memory."""

import math
from typing import Final

import numpy as np
from numba import njit

from features.entry import FORGOTTEN, MIDDLE, FeatureEntry, forget_ns, span_name
from features.families.windows import mean_best_depth, window_base, window_is_full, windowed
from features.state import (
    C_ARRIVE,
    C_CANCEL,
    C_GROUPS,
    E_DEPLETED,
    E_EXECUTED,
    E_IMPROVED,
    E_MESSAGES,
    E_PRINTS,
    S_SINCE,
    X_FLOW_TS,
    FeatureState,
    Float64,
    Plan,
)
from marketdata.clock import NS_PER_S
from marketdata.settings import SamplingSettings

CKS_2014: Final = "Cont, Kukanov, Stoikov (2014). The price impact of order book events. J. Fin. Econometrics 12(1)."
CST_2010: Final = (
    "Cont, Stoikov, Talreja (2010). A stochastic model for order book dynamics. Operations Research 58(3)."
)
CL_2013: Final = "Cont, de Larrard (2013). Price dynamics in a Markovian limit order market. SIAM J. Fin. Math. 4(1)."
HS_2009: Final = "Hasbrouck, Saar (2009). Technology and liquidity provision. J. Financial Markets 12(2)."
SEC_2013: Final = "SEC (2013). MIDAS market activity: trade-to-order volume and cancel-to-trade ratios."


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    middle, longest = sampling.windows_ns[MIDDLE], sampling.windows_ns[-1]
    short, long = span_name(middle), span_name(longest)
    depth = f"mean best depth of {long} / s"
    rates = [
        windowed(
            "flow",
            f"queue_{kind}_rate",
            "1/s",
            f"lots that {text} the best quotes in {short} / {depth}",
            CST_2010,
            middle,
            warmup_ns=longest,
            memory_ns=longest,
        )
        for kind, text in (("arrival", "came to"), ("cancel", "were cancelled from"), ("depletion", "were executed at"))
    ]
    decayed = [
        FeatureEntry(
            f"ofi_decayed_{k}",
            "1",
            f"Σ e_n exp(-{decay:g} (t - t_n)) at the best level / mean best depth of {long}",
            CKS_2014,
            warmup_ns=max(longest, forget_ns(decay)),
            memory_ns=max(longest, forget_ns(decay)),
            needs_book=True,
            family="flow",
            key="ofi_decayed",
            mirror="odd",
            joins="decays",
        )
        for k, decay in enumerate(sampling.decays_per_s)
    ]
    better = "groups in {} that left the bid {} - groups that left the ask {}, over their sum; 0 without any"
    return [
        *rates,
        windowed(
            "flow",
            "depletion_imbalance",
            "1",
            better.format(short, "lower", "higher"),
            CL_2013,
            middle,
            mirror="odd",
        ),
        windowed(
            "flow",
            "improvement_imbalance",
            "1",
            better.format(short, "higher", "lower"),
            CL_2013,
            middle,
            mirror="odd",
        ),
        windowed(
            "flow",
            "cancel_share",
            "1",
            f"lots cancelled from the best quotes / (cancelled + executed there) in {short}; 0 without any",
            HS_2009,
            middle,
        ),
        windowed(
            "flow",
            "order_to_trade",
            "1",
            f"ln((1 + order messages) / (1 + executions)) in {long}",
            SEC_2013,
            longest,
        ),
        windowed(
            "flow",
            "update_intensity",
            "1",
            f"ln(1 + event groups in {short}) - ln(1 + as many as {long} had on average)",
            HS_2009,
            middle,
            warmup_ns=longest,
            memory_ns=longest,
        ),
        *decayed,
    ]


@njit(cache=True)
def write_flow(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    if not plan.has_book:
        return
    total = state.total
    depth = mean_best_depth(plan, state, now)
    longest = len(plan.windows) - 1
    long = window_base(state, longest)
    if window_is_full(plan, state, MIDDLE, now):
        base = window_base(state, MIDDLE)
        arrived = total[C_ARRIVE] + total[C_ARRIVE + 1] - base[C_ARRIVE] - base[C_ARRIVE + 1]
        cancelled = total[C_CANCEL] + total[C_CANCEL + 1] - base[C_CANCEL] - base[C_CANCEL + 1]
        executed = total[E_EXECUTED] + total[E_EXECUTED + 1] - base[E_EXECUTED] - base[E_EXECUTED + 1]
        usual = depth * plan.windows[MIDDLE] / NS_PER_S
        if not np.isnan(depth):
            out[column] = arrived / usual
            out[column + 1] = cancelled / usual
            out[column + 2] = executed / usual
        bid = total[E_DEPLETED] - base[E_DEPLETED]
        ask = total[E_DEPLETED + 1] - base[E_DEPLETED + 1]
        out[column + 3] = (bid - ask) / max(bid + ask, 1)
        bid = total[E_IMPROVED] - base[E_IMPROVED]
        ask = total[E_IMPROVED + 1] - base[E_IMPROVED + 1]
        out[column + 4] = (bid - ask) / max(bid + ask, 1)
        out[column + 5] = cancelled / max(cancelled + executed, 1)
        if window_is_full(plan, state, longest, now):
            groups = total[C_GROUPS] - base[C_GROUPS]
            share = plan.windows[MIDDLE] / plan.windows[longest]
            out[column + 7] = math.log1p(groups) - math.log1p((total[C_GROUPS] - long[C_GROUPS]) * share)
    if window_is_full(plan, state, longest, now):
        messages = total[E_MESSAGES] - long[E_MESSAGES]
        prints = total[E_PRINTS] - long[E_PRINTS]
        out[column + 6] = math.log((1.0 + messages) / (1.0 + prints))
    for d in range(len(plan.decays)):
        known = math.exp(-plan.decays[d] * 1e-9 * (now - state.at[S_SINCE])) <= FORGOTTEN
        if known and not np.isnan(depth):
            weight = math.exp(-plan.decays[d] * 1e-9 * (now - state.extra[X_FLOW_TS]))
            out[column + 8 + d] = state.decayed_flow[d] * weight / depth
