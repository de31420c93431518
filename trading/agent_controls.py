"""How the agent obeys: kill, pause, limits, sizes, heartbeats, funding, deposits; each control becomes a journal row.

A limit, a size, a score or a funding of an instrument that the session does not hold concerns nobody: it is journaled with that
instrument and ``flag`` 1, and nothing else happens. Only -1 stands for all instruments.
"""

from typing import Final

import numpy as np

from marketdata.bits import inner
from trading import controls as _controls
from trading.journal import CONTROL, FUNDING_ROW, R_REARMED, R_RECOVERED, RISK
from trading.ladder import rearm
from trading.ledger import MILLION, funding_paid, remark
from trading.outbox import note
from trading.risk import set_peak
from trading.sending import FLATTEN_ASKED, FLATTEN_HALT, FLATTEN_KILL, FLATTEN_PAUSE, want_cancel
from trading.state import (
    G_EQUITY,
    G_FLATTEN,
    G_HEARD_NS,
    G_KILLED,
    G_LADDER,
    G_NEXT_TIMER,
    G_OPEN_EQUITY,
    G_PAUSED,
    G_PEAK,
    G_SILENT,
    I_ANOMALY_PPM,
    I_CASH,
    I_FUNDING,
    I_MARK_ASK,
    I_MARK_BID,
    I_MAX_POSITION,
    I_POSITION,
    I_SIZE_PPM,
    K_UNIT_NANOS,
    P_DEAD_MAN_NS,
    AgentState,
    EngineParameters,
    Records,
)

_KILL, _PAUSE, _RESUME = _controls.KILL, _controls.PAUSE, _controls.RESUME
_REARM, _LIMIT, _FLATTEN = _controls.REARM, _controls.POSITION_LIMIT, _controls.FLATTEN
_SIZE, _ANOMALY = _controls.SIZE_SCALE, _controls.ANOMALY
_HEARTBEAT, _DEPOSIT = _controls.HEARTBEAT, _controls.DEPOSIT
_FUNDING = _controls.FUNDING


_i: Final = np.int64
"""Makes a constant an ordinary int64 argument: numba would compile a function anew for each literal."""


@inner
def agent_control(
    agent: AgentState, parameters: EngineParameters, out: Records, now: int, controls: Records, i: int
) -> None:
    """Obey a control and journal it."""
    g = agent.g
    said = controls[i]
    kind, value, slot = _i(said.kind), said.value, -1
    if said.instrument_id >= 0 and said.instrument_id < len(parameters.slot_of):
        slot = parameters.slot_of[said.instrument_id]
    k = note(agent, parameters, out, _i(CONTROL), now, slot, kind)
    out[k].order_id = said.control_id
    out[k].size_lots = value
    if slot < 0 and said.instrument_id >= 0:
        out[k].instrument_id = said.instrument_id
        if kind in (_LIMIT, _SIZE, _ANOMALY, _FUNDING):
            out[k].flag = 1
            return
    if kind in (_KILL, _PAUSE):
        g[G_KILLED if kind == _KILL else G_PAUSED] = 1
        for s in range(len(agent.inst)):
            want_cancel(agent, s)
        if value != 0:
            g[G_FLATTEN] |= FLATTEN_KILL if kind == _KILL else FLATTEN_PAUSE
    elif kind == _RESUME:
        g[G_PAUSED] = 0
        g[G_FLATTEN] &= ~FLATTEN_PAUSE
    elif kind == _REARM:
        before = g[G_LADDER]
        rearm(g, parameters.ints)
        g[G_FLATTEN] &= ~(FLATTEN_HALT | FLATTEN_KILL)
        k = note(agent, parameters, out, _i(RISK), now, _i(-1), _i(R_REARMED))
        out[k].flag = before
    elif kind == _LIMIT:
        for s in range(len(agent.inst)):
            if s == slot or said.instrument_id < 0:
                agent.inst[s, I_MAX_POSITION] = value
    elif kind == _FLATTEN:
        g[G_FLATTEN] |= FLATTEN_ASKED
    elif kind in (_SIZE, _ANOMALY):
        column = I_SIZE_PPM if kind == _SIZE else I_ANOMALY_PPM
        for s in range(len(agent.inst)):
            if s == slot or said.instrument_id < 0:
                agent.inst[s, column] = min(max(value, 0), MILLION) if kind == _SIZE else value
    elif kind == _HEARTBEAT:
        g[G_HEARD_NS] = now
        if g[G_SILENT] != 0:
            g[G_SILENT] = 0
            note(agent, parameters, out, _i(RISK), now, _i(-1), _i(R_RECOVERED))
        if parameters.ints[P_DEAD_MAN_NS] > 0:
            g[G_NEXT_TIMER] = min(g[G_NEXT_TIMER], now + parameters.ints[P_DEAD_MAN_NS])
    elif kind == _FUNDING:
        for s in range(len(agent.inst)):
            if (s == slot or said.instrument_id < 0) and agent.inst[s, I_POSITION] != 0:
                unit = parameters.inst[s, K_UNIT_NANOS]
                mark = (agent.inst[s, I_MARK_BID] + agent.inst[s, I_MARK_ASK]) // 2
                paid = funding_paid(agent.inst[s, I_POSITION], mark, unit, value)
                agent.inst[s, I_CASH] -= paid
                agent.inst[s, I_FUNDING] += paid
                remark(g, agent.inst[s], unit)
                k = note(agent, parameters, out, _i(FUNDING_ROW), now, s, _i(0))
                out[k].fee_nanos = paid
                out[k].price_units = mark
                out[k].size_lots = value
    elif kind == _DEPOSIT:
        g[G_EQUITY] += value
        g[G_OPEN_EQUITY] += value
        set_peak(g, parameters.ints, g[G_PEAK] + value)
