"""The risk gate: every order passes it in process, and every refusal and every cut has a reason.

Positions are counted at their worst: what is held plus every live order of the side, whether pending, resting or waiting for
a cancel to be confirmed. An order that only reduces a position (opposite to it, and together with the other live orders of its
side no larger than it) always passes. The gate approves an order, refuses it, or makes it smaller:

*Refused* is what comes while trading is killed, halted, paused, closing, flattening, stopped out or unwatched; an order larger
than the largest; one without quotes on both sides, through the price collar, beyond the order rate, or crossing an own order.

*Made smaller*, and refused where nothing is left: by the drawdown ladder (:mod:`trading.ladder`), a size scale (regimes,
volatility) and the anomaly throttle, whose shares multiply and are rounded once, to the nearest lot, halves down; then by the
forecast's confidence, the position limit, the gross notional, margin and cash reserve, each to the lots that still fit. A value
exactly at its limit passes.
"""

from typing import Final

from numba import njit

from marketdata.bits import inner, inner_inlined
from marketdata.settings import RiskSettings
from trading.journal import (
    R_ANOMALY,
    R_CLOSING,
    R_COLLAR,
    R_CONFIDENCE,
    R_DAILY_LOSS,
    R_DRAWDOWN,
    R_FLATTENING,
    R_HALTED,
    R_KILLED,
    R_MARGIN,
    R_NO_QUOTE,
    R_NOTIONAL,
    R_ORDER_SIZE,
    R_PAUSED,
    R_POSITION,
    R_RATE,
    R_RESERVE,
    R_SCALED_TO_ZERO,
    R_SELF_CROSS,
    R_SILENT,
    R_SIZE_SCALE,
    R_STOPPED,
)
from trading.ladder import (
    HALTED,
    LADDER_NAMES,
    NORMAL,
    REDUCED_20,
    REDUCED_50,
    ladder_may_move,
    ladder_step,
    rearm,
    scaled_lots,
    set_peak,
)
from trading.ledger import MILLION, share_ceil, to_nanos
from trading.orders import is_live
from trading.state import (
    G_ENDING,
    G_EQUITY,
    G_FLATTEN,
    G_HALT_REASON,
    G_HIGH,
    G_KILLED,
    G_LADDER,
    G_OPEN_EQUITY,
    G_PAUSED,
    G_RATE_COUNT,
    G_SILENT,
    I_ANOMALY_PPM,
    I_ASK,
    I_ASK_LOTS,
    I_BID,
    I_BID_LOTS,
    I_BUY_WORKING,
    I_MARK_ASK,
    I_MAX_POSITION,
    I_POSITION,
    I_SELL_WORKING,
    I_SIZE_PPM,
    I_STOP,
    I_STOP_UNTIL,
    K_UNIT_NANOS,
    NEVER,
    P_ANOMALY_PPM,
    P_ANOMALY_RATE_PPM,
    P_ANOMALY_SIZE_PPM,
    P_COLLAR_PPM,
    P_CONFIDENCE_FLOOR_PPM,
    P_CONFIDENCE_FULL_PPM,
    P_DEAD_MAN_NS,
    P_MARGIN_RATE_PPM,
    P_MAX_NOTIONAL,
    P_MAX_ORDER,
    P_RESERVE_PPM,
    P_SCALE_PPM,
    P_STOP_COOLDOWN_NS,
    P_STOP_PPM,
    P_TRAIL_PPM,
    AgentState,
    EngineParameters,
    Int64,
    Records,
)

__all__ = [
    "HALTED",
    "LADDER_NAMES",
    "NORMAL",
    "REDUCED_20",
    "REDUCED_50",
    "check_order",
    "fill_risk_parameters",
    "ladder_may_move",
    "ladder_step",
    "rearm",
    "scaled_lots",
    "set_peak",
]

ONE_SECOND: Final = 1_000_000_000


def fill_risk_parameters(ints: Int64, risk: RiskSettings) -> None:
    """Write the limits that are not the ladder's into an engine's parameters."""
    ints[P_MAX_NOTIONAL] = NEVER if risk.max_notional is None else to_nanos(risk.max_notional)
    ints[P_MARGIN_RATE_PPM] = round(risk.margin_rate * 1e6)
    ints[P_RESERVE_PPM] = round(risk.cash_reserve * 1e6)
    ints[P_CONFIDENCE_FLOOR_PPM] = round(risk.confidence_floor * 1e6)
    ints[P_CONFIDENCE_FULL_PPM] = round(risk.confidence_full * 1e6)
    ints[P_STOP_PPM] = round((risk.stop_loss_bps or 0.0) * 100)
    ints[P_TRAIL_PPM] = round((risk.trailing_stop_bps or 0.0) * 100)
    ints[P_STOP_COOLDOWN_NS] = risk.stop_cooldown_ns
    ints[P_ANOMALY_PPM] = NEVER if risk.anomaly_threshold is None else round(risk.anomaly_threshold * 1e6)
    ints[P_ANOMALY_SIZE_PPM] = round(risk.anomaly_size_scale * 1e6)
    ints[P_ANOMALY_RATE_PPM] = round(risk.anomaly_rate_scale * 1e6)
    ints[P_DEAD_MAN_NS] = risk.dead_man_ns


@njit(cache=True)
def is_reducing(row: Int64, side: int, lots: int) -> bool:
    """Return whether an order only reduces the position, with every other live order of its side counted before it."""
    if side > 0:
        return lots <= -row[I_POSITION] - row[I_BUY_WORKING]
    return lots <= row[I_POSITION] - row[I_SELL_WORKING]


@njit(cache=True)
def _crosses_own(orders: Records, high: int, slot: int, side: int, price: int) -> bool:
    for k in range(high):
        order = orders[k]
        if order.slot == slot and order.side == -side and is_live(order.state):
            if side > 0 and price >= order.price_units:
                return True
            if side < 0 and price <= order.price_units:
                return True
    return False


@inner_inlined
def _refusal(agent: AgentState, ints: Int64, slot: int, side: int, price: int, lots: int, now: int) -> int:
    """Return why an order must not be sent at any size, 0 if it may."""
    g, row = agent.g, agent.inst[slot]
    if g[G_KILLED] != 0:
        return R_KILLED
    if g[G_LADDER] == HALTED:
        return R_DAILY_LOSS if g[G_HALT_REASON] == R_DAILY_LOSS else R_HALTED
    if g[G_PAUSED] != 0:
        return R_PAUSED
    if g[G_ENDING] != 0:
        return R_CLOSING
    if g[G_FLATTEN] != 0:
        return R_FLATTENING
    if g[G_SILENT] != 0:
        return R_SILENT
    if row[I_STOP] != 0 or now < row[I_STOP_UNTIL]:
        return R_STOPPED
    if lots > ints[P_MAX_ORDER]:
        return R_ORDER_SIZE
    if row[I_BID_LOTS] == 0 or row[I_ASK_LOTS] == 0:
        return R_NO_QUOTE
    if _outside_collar(row, ints[P_COLLAR_PPM], side, price):
        return R_COLLAR
    most = len(agent.rate)
    if agent.rate[g[G_RATE_COUNT] % most] > now - ONE_SECOND:
        return R_RATE
    if row[I_ANOMALY_PPM] >= ints[P_ANOMALY_PPM]:
        fewer = most * ints[P_ANOMALY_RATE_PPM] // MILLION
        if fewer == 0 or agent.rate[(g[G_RATE_COUNT] + most - fewer) % most] > now - ONE_SECOND:
            return R_ANOMALY
    opposite = row[I_SELL_WORKING if side > 0 else I_BUY_WORKING]
    if opposite > 0 and _crosses_own(agent.orders, g[G_HIGH], slot, side, price):
        return R_SELF_CROSS
    return 0


@njit(cache=True)
def _scaled(g: Int64, row: Int64, ints: Int64, lots: int) -> tuple[int, int]:
    """Return (lots, reason) after the ladder, the size scale and the anomaly throttle."""
    ladder, size, calm = ints[P_SCALE_PPM + g[G_LADDER]], row[I_SIZE_PPM], MILLION
    if row[I_ANOMALY_PPM] >= ints[P_ANOMALY_PPM]:
        calm = ints[P_ANOMALY_SIZE_PPM]
    fit = scaled_lots(lots, ladder * size // MILLION * calm // MILLION)
    if fit == lots:
        return lots, 0
    if ladder <= size and ladder <= calm:
        return fit, R_DRAWDOWN
    return fit, R_SIZE_SCALE if size <= calm else R_ANOMALY


@njit(cache=True)
def _largest_whose_share_fits(amount: int, ppm: int) -> int:
    """Return the largest value of which ``ppm`` millionths, rounded up, are at most ``amount``, no more than ``NEVER``."""
    if amount < 0:
        return -1
    whole = amount // ppm
    if whole >= NEVER // MILLION:
        return NEVER
    return whole * MILLION + amount % ppm * MILLION // ppm


@inner
def _room_for_value(agent: AgentState, parameters: EngineParameters, slot: int, side: int, most: int) -> int:
    """Return how many lots may still be sent so that the account's gross notional at its worst is at most ``most`` nanos.

    Each instrument counts with the larger of its sides, at its ask.
    """
    others = 0
    for k in range(len(agent.inst)):
        if k != slot:
            other = agent.inst[k]
            long, short = other[I_POSITION] + other[I_BUY_WORKING], other[I_SELL_WORKING] - other[I_POSITION]
            others += max(long, short) * other[I_MARK_ASK] * parameters.inst[k, K_UNIT_NANOS]
    row = agent.inst[slot]
    left = (most - others) // (row[I_ASK] * parameters.inst[slot, K_UNIT_NANOS])
    long, short = row[I_POSITION] + row[I_BUY_WORKING], row[I_SELL_WORKING] - row[I_POSITION]
    mine, opposite = (long, short) if side > 0 else (short, long)
    return 0 if opposite > left else max(left - mine, 0)


@inner_inlined
def _fitted(
    agent: AgentState, parameters: EngineParameters, slot: int, side: int, lots: int, reason: int
) -> tuple[int, int]:
    """Return (lots, reason) after everything that limits lots by what they are worth or believed to be."""
    g, ints, row = agent.g, parameters.ints, agent.inst[slot]
    full, floor = ints[P_CONFIDENCE_FULL_PPM], ints[P_CONFIDENCE_FLOOR_PPM]
    if full > 0:
        said = agent.forecast[slot]
        sure = int((said[2] if side > 0 else said[0]) * said[4] * 1e6 + 0.5)
        fit = ints[P_MAX_ORDER] * min(max(sure - floor, 0), full - floor) // (full - floor)
        if fit < lots:
            lots, reason = fit, R_CONFIDENCE
    mine = row[I_POSITION] + row[I_BUY_WORKING] if side > 0 else row[I_SELL_WORKING] - row[I_POSITION]
    fit = max(row[I_MAX_POSITION] - mine, 0)
    if fit < lots:
        lots, reason = fit, R_POSITION
    if ints[P_MAX_NOTIONAL] < NEVER and lots > 0:
        fit = _room_for_value(agent, parameters, slot, side, ints[P_MAX_NOTIONAL])
        if fit < lots:
            lots, reason = fit, R_NOTIONAL
    rate = ints[P_MARGIN_RATE_PPM]
    if rate > 0 and lots > 0:
        fit = _room_for_value(agent, parameters, slot, side, _largest_whose_share_fits(g[G_EQUITY], rate))
        if fit < lots:
            lots, reason = fit, R_MARGIN
        free = g[G_EQUITY] - share_ceil(g[G_OPEN_EQUITY], ints[P_RESERVE_PPM])
        fit = _room_for_value(agent, parameters, slot, side, _largest_whose_share_fits(free, rate))
        if fit < lots:
            lots, reason = fit, R_RESERVE
    return lots, reason


@inner_inlined
def check_order(
    agent: AgentState, parameters: EngineParameters, slot: int, side: int, price: int, lots: int, now: int
) -> tuple[int, int, bool]:
    """Return (reason, lots, reduces): how many lots may be sent, 0 for a refusal, and why no more than that.

    The reason is 0 where all of the order passes. The order's time is written into the rate window when any of it does;
    reducing orders are counted there but never refused.
    """
    g, ints, row = agent.g, parameters.ints, agent.inst[slot]
    reason = 0
    reduces = is_reducing(row, side, lots)
    if not reduces:
        reason = _refusal(agent, ints, slot, side, price, lots, now)
        if reason != 0:
            return reason, 0, False
        lots, reason = _scaled(g, row, ints, lots)
        if lots == 0:
            return R_SCALED_TO_ZERO, 0, False
        lots, reason = _fitted(agent, parameters, slot, side, lots, reason)
        if lots == 0:
            return reason, 0, False
    agent.rate[g[G_RATE_COUNT] % len(agent.rate)] = now
    g[G_RATE_COUNT] += 1
    return reason, lots, reduces


@njit(cache=True)
def _outside_collar(row: Int64, collar_ppm: int, side: int, price: int) -> bool:
    """Return whether an order's price is further through the touch than the collar allows."""
    if side > 0:
        return price > row[I_ASK] + share_ceil(row[I_ASK], collar_ppm)
    return price < row[I_BID] - share_ceil(row[I_BID], collar_ppm)
