"""Momentum over updates, moves and cells; with the two indicators of chart readers as controls."""

import math
from typing import Final

from numba import njit

from features.entry import CELLS, FORGOTTEN, MIDDLE, FeatureEntry, span_name
from features.families.windows import window_base, window_is_full, windowed
from features.state import (
    C_MID2,
    E_MOVES,
    M_DOWN,
    M_FAST,
    M_SIGNAL,
    M_SLOW,
    M_UP,
    S_HEAD,
    S_MID2,
    S_MID_MOVED,
    S_MID_TS,
    X_CELLS,
    X_MOVE,
    FeatureState,
    Float64,
    Plan,
)
from marketdata.settings import SamplingSettings

JT_1993: Final = "Jegadeesh, Titman (1993). Returns to buying winners and selling losers. J. Finance 48(1)."
BOLLINGER_2001: Final = "Bollinger (2001). Bollinger on Bollinger Bands. McGraw-Hill."
APPEL_2005: Final = "Appel (2005). Technical Analysis: Power Tools for Active Investors. FT Prentice Hall."
WILDER_1978: Final = "Wilder (1978). New Concepts in Technical Trading Systems. Trend Research."
RR_2011: Final = "Robert, Rosenbaum (2011). The dynamics of ultra-high-frequency data. J. Fin. Econometrics 9(2)."
UPDATES: Final = (20, 100)
"""Book updates of different receive times that the move over updates goes back."""
FAST: Final = 12
SLOW: Final = 26
SIGNAL: Final = 9
WILDER: Final = 14
"""Cells of the moving averages."""
WARM_CELLS: Final = math.ceil(math.log(FORGOTTEN) / math.log(1.0 - 1.0 / WILDER))
"""Cells after which every average has forgotten: the slowest forgets a fourteenth a cell."""


def entries(sampling: SamplingSettings) -> list[FeatureEntry]:
    """Return the family's entries in column order."""
    middle, longest = sampling.windows_ns[MIDDLE], sampling.windows_ns[-1]
    short, long = span_name(middle), span_name(longest)
    cell = middle // CELLS
    wide = longest // CELLS
    cells = (
        f"mids at the ends of cells of {span_name(cell)}" if cell % 1_000_000 == 0 else f"mids at {CELLS}ths of {short}"
    )
    reach = (WARM_CELLS + 1) * cell

    def control(name: str, unit: str, formula: str, reference: str) -> FeatureEntry:
        return windowed(
            "momentum",
            name,
            unit,
            formula,
            reference,
            middle,
            needs_book=False,
            mirror="odd",
            warmup_ns=WARM_CELLS * cell,
            memory_ns=reach,
            joins="decays",
            may_be_unknown=name == "rsi",
            name=name,
        )

    return [
        *(
            windowed(
                "momentum",
                "update_return_bps",
                "bps",
                f"1e4 (mid - mid {back} updates of different receive times ago) / mid; NaN if that is more than {long} ago",
                JT_1993,
                longest,
                needs_book=False,
                mirror="odd",
                warmup_ns=0,
                may_be_unknown=True,
                name=f"update_return_bps_{back}",
            )
            for back in UPDATES
        ),
        windowed(
            "momentum",
            "mid_move_imbalance",
            "1",
            f"(moves of the mid up - down) / their number in {short}; 0 without any",
            RR_2011,
            middle,
            needs_book=False,
            mirror="odd",
        ),
        windowed(
            "momentum",
            "mid_move_intensity",
            "1",
            f"ln(1 + moves of the mid in {short}) - ln(1 + as many as {long} had on average)",
            RR_2011,
            middle,
            needs_book=False,
            warmup_ns=longest,
            memory_ns=longest,
        ),
        windowed(
            "momentum",
            "last_mid_move",
            "1",
            f"direction of the last move of the mid; 0 if it is older than {long}",
            RR_2011,
            longest,
            needs_book=False,
            mirror="odd",
            warmup_ns=0,
            name="last_mid_move",
        ),
        windowed(
            "momentum",
            "bollinger_z",
            "1",
            f"(mid - mean) / deviation (n-1) of the mids at the ends of {CELLS} cells of {long}; 0 where they are all the same",
            BOLLINGER_2001,
            longest,
            needs_book=False,
            mirror="odd",
            warmup_ns=CELLS * wide,
            memory_ns=(CELLS + 1) * wide,
        ),
        control("rsi", "1", f"RSI/50 - 1 = (U - D)/(U + D), Wilder's averages over {WILDER} of {cells}", WILDER_1978),
        control("macd_bps", "bps", f"1e4 (EMA_{FAST} - EMA_{SLOW}) / mid of {cells}", APPEL_2005),
        control(
            "macd_histogram_bps",
            "bps",
            f"1e4 (line - EMA_{SIGNAL} of it) / mid, line EMA_{FAST} - EMA_{SLOW}, {cells}",
            APPEL_2005,
        ),
    ]


@njit(cache=True)
def write_momentum(plan: Plan, state: FeatureState, now: int, out: Float64, column: int) -> None:
    """Write the family from ``column`` on."""
    longest = len(plan.windows) - 1
    mask = len(state.ring_ts) - 1
    mid2 = state.at[S_MID2]
    head = state.at[S_HEAD]
    for k in range(2):
        row = head - 1 - UPDATES[k]
        if row >= state.tails[longest] and state.ring_ts[row & mask] > now - plan.windows[longest]:
            out[column + k] = 1e4 * (mid2 - state.ring[row & mask, C_MID2]) / mid2
    column += 2
    if window_is_full(plan, state, MIDDLE, now):
        base = window_base(state, MIDDLE)
        up = state.total[E_MOVES] - base[E_MOVES]
        down = state.total[E_MOVES + 1] - base[E_MOVES + 1]
        out[column] = (up - down) / max(up + down, 1)
        if window_is_full(plan, state, longest, now):
            far = window_base(state, longest)
            usual = state.total[E_MOVES] + state.total[E_MOVES + 1] - far[E_MOVES] - far[E_MOVES + 1]
            share = plan.windows[MIDDLE] / plan.windows[longest]
            out[column + 1] = math.log1p(up + down) - math.log1p(usual * share)
    if state.at[S_MID_MOVED] and state.at[S_MID_TS] > now - plan.windows[longest]:
        out[column + 2] = state.extra[X_MOVE]
    elif window_is_full(plan, state, longest, now):
        out[column + 2] = 0.0
    grid = state.grid
    if grid[longest, 0] >= 0 and grid[longest, 2] >= CELLS:
        close = 0.0
        total = 0.0
        squares = 0.0
        for k in range(CELLS):
            total += close
            squares += close * close
            close -= state.cells[longest, (grid[longest, 3] + CELLS - 1 - k) % CELLS, 0]
        mean = total / CELLS
        variance = max(squares - total * mean, 0.0) / (CELLS - 1)
        z = mid2 - grid[longest, 1] - mean
        out[column + 3] = z / math.sqrt(variance) if variance > 0.0 else 0.0
    if grid[MIDDLE, 0] >= 0 and state.extra[X_CELLS] >= WARM_CELLS:
        averages = state.averages
        line = averages[M_FAST] - averages[M_SLOW]
        both = averages[M_UP] + averages[M_DOWN]
        if both > 0.0:
            out[column + 4] = (averages[M_UP] - averages[M_DOWN]) / both
        out[column + 5] = 1e4 * line / mid2
        out[column + 6] = 1e4 * (line - averages[M_SIGNAL]) / mid2


@njit(cache=True)
def average_cell(averages: Float64, move: int) -> None:
    """Move the averages on by one cell of the middle grid; those of the mid are kept as distances from the last mid."""
    averages[M_FAST] = (1.0 - 2.0 / (FAST + 1)) * (averages[M_FAST] - move)
    averages[M_SLOW] = (1.0 - 2.0 / (SLOW + 1)) * (averages[M_SLOW] - move)
    averages[M_SIGNAL] += 2.0 / (SIGNAL + 1) * (averages[M_FAST] - averages[M_SLOW] - averages[M_SIGNAL])
    averages[M_UP] += (max(move, 0) - averages[M_UP]) / WILDER
    averages[M_DOWN] += (max(-move, 0) - averages[M_DOWN]) / WILDER
