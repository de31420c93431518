"""Cash plus positions at their marks is the equity, to the last unit, with everything that a venue may do at once."""

from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from marketdata.clock import NS_PER_MS, NS_PER_S
from marketdata.events import EVENT_DTYPE, F_LAST, STATUS, EventArray, merge_events
from tests.trading.tape import CAPITAL, LOOSE, OPEN_NS, chaos, engine, random_forecasts, random_market
from tests.trading.test_venue_options import STRATEGIES, TWO
from trading.controls import DEPOSIT, FUNDING, SIZE_SCALE, control
from trading.engine import FOREVER
from trading.journal import CONTROL, FILL, FUNDING_ROW, MARK, MODIFIED_ROW, REASON_NAMES, Journal
from trading.latency import LatencyModel, QuantileLatency
from trading.state import G_EQUITY, I_FEES, I_FUNDING, I_MARK_ASK, I_MARK_BID
from trading.venue_rules import FeeSchedule, FeeTier, SquareRootImpact, VenueRules

PLAYED = {"chaos": chaos(3), **STRATEGIES}
MAKER_PPM, TAKER_PPM, PER_TRADE = -7, 113, 0.000_000_013
DRAWN = QuantileLatency((100_000, 400_000, 3_000_000, 60_000_000))
RULES = VenueRules(
    latency=LatencyModel(DRAWN, DRAWN, DRAWN, DRAWN, seed=5),
    fees=FeeSchedule((FeeTier(0.0, 900, 900), FeeTier(1e5, MAKER_PPM, TAKER_PPM)), PER_TRADE),
    volume=1e5,
    impact=SquareRootImpact(50.0, 5_000),
    downtime=((OPEN_NS + 7 * NS_PER_S, OPEN_NS + 9 * NS_PER_S),),
    on_halt="cancel",
)
SEEN: dict[str, int] = {}
"""What the cases went through, over all of them: an identity over nothing would hold as well. The two examples alone do it: what
Hypothesis draws depends on the constants of every module that is loaded."""


def _tape(seed: int) -> EventArray:
    """A random market of two instruments, each halted twice for a while."""
    halts = np.zeros(8, EVENT_DTYPE)
    at = OPEN_NS + np.array([2, 3, 11, 12, 4, 5, 13, 14]) * NS_PER_S
    halts["ts_event"], halts["ts_recv"] = at, at + NS_PER_MS
    halts["action"], halts["flags"], halts["size_lots"] = STATUS, F_LAST, [0, 1] * 4
    halts["instrument_id"] = [0] * 4 + [1] * 4
    return merge_events([random_market(seed, 120), halts[:4], halts[4:]])


def _controls(rates: list[int], deposits: list[int]) -> Any:
    rows = [
        control(FUNDING, OPEN_NS + (3 * k + 1) * NS_PER_S, by="t", control_id=k, value=rate, instrument_id=k % 3 - 1)
        for k, rate in enumerate(rates)
    ]
    rows += [
        control(DEPOSIT, OPEN_NS + (5 * k + 2) * NS_PER_S, by="t", control_id=50 + k, value=value)
        for k, value in enumerate(deposits)
    ]
    rows.append(control(SIZE_SCALE, OPEN_NS + 6 * NS_PER_S, by="t", control_id=90, value=600_000))
    joined = np.concatenate(rows)
    return joined[np.argsort(joined["due_ns"], kind="stable")]


class Books:
    """The account again, from nothing but the journal's fills, fundings and deposits, in whole numbers of Python."""

    def __init__(self) -> None:
        self.cash, self.position, self.fees, self.funding = [0, 0], [0, 0], [0, 0], [0, 0]
        self.paid_in = round(CAPITAL * 1e9)

    def book(self, rows: Journal) -> None:
        for row in rows:
            k, kind = int(row["instrument_id"]), int(row["kind"])
            if kind == FILL:
                notional = int(row["price_units"]) * int(row["size_lots"]) * TWO[k].unit_nanos
                fee = -(-notional * (MAKER_PPM if row["flag"] else TAKER_PPM) // 1_000_000) + round(PER_TRADE * 1e9)
                assert row["fee_nanos"] == fee
                self.cash[k] -= int(row["side"]) * notional + fee
                self.position[k] += int(row["side"]) * int(row["size_lots"])
                self.fees[k] += fee
                assert (row["cash_nanos"], row["position_lots"]) == (self.cash[k], self.position[k])
                _count("as maker" if row["flag"] else "as taker")
                _count("in part" if row["leaves_lots"] else "whole")
            elif kind == FUNDING_ROW:
                # Size and price of the row are the rate and the mark.
                value = self.position[k] * int(row["price_units"]) * TWO[k].unit_nanos
                paid = -(-value * int(row["size_lots"]) // 1_000_000_000)
                assert row["fee_nanos"] == paid
                self.cash[k] -= paid
                self.funding[k] += paid
                _count("funded")
            elif kind == CONTROL and row["reason"] == DEPOSIT:
                self.paid_in += int(row["size_lots"])
                _count("paid in")
            elif kind == MARK:
                assert (row["cash_nanos"], row["fee_nanos"]) == (sum(self.cash), sum(self.fees))
                _count("marked")
            elif kind == MODIFIED_ROW:
                _count("changed")
            elif REASON_NAMES[int(row["reason"])] in ("venue_halted", "venue_down"):
                _count(REASON_NAMES[int(row["reason"])])


def _count(what: str) -> None:
    SEEN[what] = SEEN.get(what, 0) + 1


@settings(max_examples=12, deadline=None, derandomize=True)
@example(1, "python", "fifo", [10**6, -(10**6), 3 * 10**5, 7], [10**12], [0.2, 0.5, 0.8])
@example(2, "python", "log", [-(10**7), 10**7, 5, -5], [-(10**9), 10**10], [0.1, 0.45, 0.9])
@given(
    seed=st.integers(0, 10_000),
    played=st.sampled_from(sorted(PLAYED)),
    queue=st.sampled_from(["risk_averse", "log", "fifo"]),
    rates=st.lists(st.integers(-(10**7), 10**7), min_size=4, max_size=6),
    deposits=st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=3),
    cuts=st.lists(st.floats(0.0, 1.0), min_size=3, max_size=8),
)
def _every_cent_is_accounted_for(
    seed: int, played: str, queue: str, rates: list[int], deposits: list[int], cuts: list[float]
) -> None:
    made = engine(PLAYED[played], instruments=TWO, risk=LOOSE, queue=queue, rules={"T": RULES}, clock_ns=NS_PER_S)
    events = _tape(seed)
    forecasts, controls = random_forecasts(seed, 80, events), _controls(rates, deposits)
    span = int(events["ts_recv"][-1]) - OPEN_NS
    moments = sorted({OPEN_NS + int(cut * span) for cut in cuts})
    state, books, taken = made.init(), Books(), 0
    for until in (*moments, FOREVER):
        stop = len(events) if until == FOREVER else int(np.searchsorted(events["ts_recv"], until))
        first = taken == 0 and until == moments[0]
        state, rows = made.run(
            state, events[taken:stop], forecasts if first else None, controls if first else None, until
        )
        taken = stop
        books.book(rows)
        inst, equity = state.kernel.agent.inst, books.paid_in
        for k, item in enumerate(TWO):
            mark = int(inst[k, I_MARK_BID if books.position[k] > 0 else I_MARK_ASK])
            equity += books.cash[k] + books.position[k] * mark * item.unit_nanos
            assert (int(inst[k, I_FEES]), int(inst[k, I_FUNDING])) == (books.fees[k], books.funding[k])
        assert int(state.kernel.agent.g[G_EQUITY]) == equity
    assert made.account(state).equity_nanos == equity
    assert state.illegal_answers == state.late_rows == 0


def test_every_cent_is_accounted_for_at_any_moment_whatever_a_venue_does() -> None:
    SEEN.clear()
    _every_cent_is_accounted_for()
    wanted = {"as maker", "as taker", "in part", "whole", "funded", "paid in", "marked", "changed"}
    assert wanted | {"venue_halted", "venue_down"} <= set(SEEN), SEEN
