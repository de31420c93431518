"""The further families written straight from their definitions, in plain Python: slow, and of one tape without a gap."""

import itertools
import math
from dataclasses import dataclass, field
from statistics import mean, stdev

import numpy as np

from marketdata.events import (
    ADD,
    BID,
    CLEAR,
    DELETE,
    EXECUTE,
    F_LAST,
    F_SNAPSHOT,
    HIDDEN,
    LEVEL,
    REDUCE,
    TRADE,
    EventArray,
)

DEEP, CELLS, MANY = 10, 24, 128
NAN = float("nan")


@dataclass
class Group:
    """An event group: its end, the ten best levels of each side, and the doubled mid in force."""

    ts: int
    sequence: int
    sides: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    mid2: int | None
    executed: list[int] = field(default_factory=lambda: [0, 0])
    flow: list[int] = field(default_factory=list)


@dataclass
class Print:
    """An execution, in which group, with the doubled mid before it."""

    ts: int
    group: int
    sign: int
    price: int
    lots: int
    is_hidden: bool
    mid2: int | None


@dataclass
class Aggressor:
    """Executions of one exchange time and side."""

    ts: int
    group: int
    sign: int
    lots: int
    prices: list[int]
    mid2: int | None


def _flow(side: int, new: tuple[int, int], old: tuple[int, int]) -> int:
    """Return e_n of one level of a side: an empty level has no price, only its size."""
    (price, lots), (was, held) = new, old
    if not lots or not held:
        return lots - held
    better = price - was if side == 0 else was - price
    return (lots if better >= 0 else 0) - (held if better <= 0 else 0)


class Reference:
    """Replays a tape once, keeps everything, and answers for any group."""

    def __init__(self, tape: EventArray, windows: tuple[int, ...], decays: tuple[float, ...], tick: int) -> None:
        self.windows, self.decays, self.tick = windows, decays, tick
        self.groups: list[Group] = []
        self.prints: list[Print] = []
        self.aggressors: list[Aggressor] = []
        self.messages: list[int] = []
        books: list[dict[int, int]] = [{}, {}]
        mid2 = last_price = None
        last_sign = 0
        open_groups: dict[tuple[int, int], Aggressor] = {}
        newest = {1: -1, -1: -1}
        executed = [0, 0]
        for event in tape:
            action, price, lots = int(event["action"]), int(event["price_units"]), int(event["size_lots"])
            side = 0 if event["side"] == BID else 1
            ts, here = int(event["ts_recv"]), len(self.groups)
            if action in (EXECUTE, HIDDEN, TRADE):
                sign = -int(event["side"])
                if sign == 0:
                    bid, ask = max(books[0], default=0), min(books[1], default=0)
                    if bid and ask and 2 * price != bid + ask:
                        sign = 1 if 2 * price > bid + ask else -1
                    elif last_price is not None and price != last_price:
                        sign = 1 if price > last_price else -1
                    else:
                        sign = last_sign
                last_price, last_sign = price, sign
                self.prints.append(Print(ts, here, sign, price, lots, action == HIDDEN, mid2))
                if sign:
                    if newest[sign] != int(event["ts_event"]):
                        newest[sign] = int(event["ts_event"])
                        found = Aggressor(ts, here, sign, 0, [], mid2)
                        open_groups[(sign, 0)] = found
                        self.aggressors.append(found)
                    open_groups[(sign, 0)].lots += lots
                    open_groups[(sign, 0)].prices.append(price)
                if action == EXECUTE:
                    executed[side] += lots
            elif action in (ADD, REDUCE, DELETE, LEVEL) and not event["flags"] & F_SNAPSHOT:
                self.messages.append(here)
            change = {ADD: lots, REDUCE: -lots, DELETE: -lots, EXECUTE: -lots}.get(action)
            if action == CLEAR:
                assert not self.groups, "the reference knows no gaps"
            elif action == LEVEL:
                books[side][price] = lots
            elif change is not None:
                books[side][price] = books[side].get(price, 0) + change
                if books[side][price] <= 0:
                    del books[side][price]
            if event["flags"] & F_LAST:
                levels = (sorted(books[0].items(), reverse=True)[:DEEP], sorted(books[1].items())[:DEEP])
                if levels[0] and levels[1] and levels[0][0][0] <= levels[1][0][0]:
                    mid2 = levels[0][0][0] + levels[1][0][0]
                group = Group(ts, int(event["sequence"]), levels, mid2, executed)
                if self.groups:
                    for m in range(DEEP):
                        parts = [
                            _flow(s, *((x[m] if m < len(x) else (0, 0)) for x in (levels[s], self.groups[-1].sides[s])))
                            for s in (0, 1)
                        ]
                        group.flow.append(parts[0] - parts[1])
                self.groups.append(group)
                executed = [0, 0]
        self.ts = np.array([group.ts for group in self.groups])
        self.since = self.groups[0].ts
        self._print_groups = np.array([p.group for p in self.prints])

    # -- windows ---------------------------------------------------------------------------------

    def base(self, row: int, ns: int) -> int | None:
        """Return the group at which the window of a row began, None where the record does not reach back."""
        found = int(np.searchsorted(self.ts, self.ts[row] - ns, side="right")) - 1
        return found if found >= 0 else None

    def prints_in(self, first: int, row: int) -> list[Print]:
        """Return the executions of the groups after ``first`` up to ``row``."""
        a, b = np.searchsorted(self._print_groups, [first, row], side="right")
        return self.prints[a:b]

    def mid2_at(self, ns: int) -> int | None:
        """Return the doubled mid in force just before a time."""
        at = int(np.searchsorted(self.ts, ns, side="left")) - 1
        return self.groups[at].mid2 if at >= 0 else None

    def grid(self, row: int, ns: int) -> list[int] | None:
        """Return the 25 boundaries of the cells that closed before a row; None before all of them are known."""
        cell = ns // CELLS
        last = int(self.ts[row]) // cell * cell
        edges = [last - k * cell for k in range(CELLS, -1, -1)]
        return edges if edges[0] > self.since else None

    def moves(self, edges: list[int]) -> list[int]:
        mids = [self.mid2_at(edge) for edge in edges]
        return [b - a for a, b in itertools.pairwise(mids)]

    def recent(self, row: int) -> list[Aggressor]:
        """Return the newest 128 aggressors that are no older than the longest window."""
        oldest = self.ts[row] - self.windows[-1]
        return [a for a in self.aggressors if a.group <= row and a.ts > oldest][-MANY:]

    def best_depth(self, row: int) -> float:
        first = self.base(row, self.windows[-1])
        if first is None:
            return NAN
        lots = [side[0][1] for g in self.groups[first + 1 : row + 1] for side in g.sides if side]
        return sum(lots) / (2 * (row - first)) if row > first and sum(lots) else NAN

    # -- families --------------------------------------------------------------------------------

    def row(self, row: int) -> dict[str, float]:
        """Return every column of the further families at a group, by name."""
        from features.entry import span_name

        out: dict[str, float] = {}
        self._depth(row, out)
        self._shape(row, out)
        self._flow(row, out)
        self._trades(row, out)
        self._prints(row, out)
        self._impact(row, out)
        self._volatility(row, out)
        self._momentum(row, out)
        spans = {"W0": span_name(self.windows[0]), "W1": span_name(self.windows[1]), "W2": span_name(self.windows[-1])}
        return {key.replace(k, v): value for key, value in out.items() for k, v in spans.items() if k in key} | {
            key: value for key, value in out.items() if not any(k in key for k in spans)
        }

    def _depth(self, row: int, out: dict[str, float]) -> None:
        bids, asks = self.groups[row].sides
        mid2 = self.groups[row].mid2
        lots = [[q for _, q in side] + [0] * (DEEP - len(side)) for side in (bids, asks)]
        for m in range(4, DEEP + 1):
            b, a = lots[0][m - 1], lots[1][m - 1]
            out[f"depth_imbalance_l{m}"] = (b - a) / (b + a) if b + a else NAN

        def contrast(b: float, a: float) -> float:
            return (b - a) / (b + a)

        out["depth_imbalance_deep"] = contrast(sum(lots[0]), sum(lots[1]))
        weights = [math.exp(-m / 2) for m in range(DEEP)]
        out["depth_imbalance_weighted"] = contrast(*(sum(w * q for w, q in zip(weights, x, strict=True)) for x in lots))
        locked = bids[0][0] == asks[0][0]
        out["book_pressure"] = (
            NAN if locked else contrast(*(sum(q / abs(p - mid2 / 2) for p, q in side) for side in (bids, asks)))
        )
        every = [q for side in (bids, asks) for _, q in side]
        out["touch_share"] = (bids[0][1] + asks[0][1]) / sum(every)
        out["depth_entropy"] = -sum(q / sum(every) * math.log(q / sum(every)) for q in every) / math.log(len(every))
        first = self.base(row, self.windows[1])
        out["imbalance_mean_W1"] = NAN
        if first is not None:
            b, a = (sum(g.sides[s][0][1] for g in self.groups[first + 1 : row + 1] if g.sides[s]) for s in (0, 1))
            out["imbalance_mean_W1"] = (b - a) / max(b + a, 1)

    def _shape(self, row: int, out: dict[str, float]) -> None:
        sides = self.groups[row].sides
        mid2 = self.groups[row].mid2
        mid = mid2 / 2
        total = sum(q for side in sides for _, q in side)
        slopes, bends = [], []
        for side in sides:
            x = np.array([1e4 * abs(p - mid) / mid for p, _ in side])
            d = np.cumsum([q for _, q in side]) / total
            slopes.append(float((x * d).sum() / (x * x).sum()) if (x * x).sum() else NAN)
            reach = np.array([abs(p - mid) for p, _ in side]) / max(abs(side[-1][0] - mid), 1e-12)
            share = np.cumsum([q for _, q in side]) / sum(q for _, q in side)
            fit = np.linalg.lstsq(np.stack([reach, reach**2], 1), share, rcond=None)[0]
            bends.append(float(fit[1]) if len(side) >= 3 else NAN)
        out["book_slope"] = mean(slopes)
        out["slope_imbalance"] = (slopes[0] - slopes[1]) / sum(slopes)
        out["book_convexity"], out["convexity_imbalance"] = mean(bends), bends[0] - bends[1]
        out["book_price_bps"] = 1e4 * (sum(p * q for side in sides for p, q in side) / total - mid) / mid
        price = [sum(p * q for p, q in side) / sum(q for _, q in side) for side in sides]
        b, a = (sum(q for _, q in side) for side in sides)
        out["weighted_mid_deep_bps"] = 1e4 * ((price[1] * b + price[0] * a) / (a + b) - mid) / mid
        out["gap_ticks"] = out["gap_imbalance"] = NAN
        if min(len(side) for side in sides) > 1:
            gaps = [abs(side[0][0] - side[1][0]) for side in sides]
            out["gap_ticks"] = mean(gaps) / self.tick
            out["gap_imbalance"] = (gaps[1] - gaps[0]) / sum(gaps)
        every = [q for side in sides for _, q in side]
        out["wall_size"] = math.log(max(every) / mean(every))
        walls = [abs(max(side, key=lambda level: level[1])[0] - mid) for side in sides]
        out["wall_imbalance"] = (walls[1] - walls[0]) / sum(walls) if sum(walls) else NAN
        for name in ("spread_mean_ticks", "spread_relative", "taking_cost_bps", "taking_cost_gap_bps"):
            out[f"{name}_W2"] = NAN
        first = self.base(row, self.windows[-1])
        if first is None:
            return
        area = held = 0
        for g, after in zip(self.groups[first:row], self.groups[first + 1 : row + 1], strict=True):
            if g.sides[0] and g.sides[1]:
                area += (g.sides[1][0][0] - g.sides[0][0][0]) * (after.ts - g.ts)
                held += after.ts - g.ts
        if held:
            out["spread_mean_ticks_W2"] = area / held / self.tick
            if area:
                out["spread_relative_W2"] = (sides[1][0][0] - sides[0][0][0]) / (area / held)
        want = 5 * self.best_depth(row)
        cost = []
        for side in sides:
            left, paid = want, 0.0
            for p, q in side:
                part = min(left, q)
                paid += part * abs(p - mid)
                left -= part
            cost.append(1e4 * paid / (want - left) / mid)
        out["taking_cost_bps_W2"], out["taking_cost_gap_bps_W2"] = mean(cost), cost[1] - cost[0]

    def _flow(self, row: int, out: dict[str, float]) -> None:
        for w, ns in enumerate(self.windows):
            first = self.base(row, ns)
            for m in range(DEEP):
                out[f"ofi_l{m + 1}_W{w}"] = NAN
                if first is not None and row > first:
                    lots = [q for g in self.groups[first + 1 : row + 1] for side in g.sides for _, q in side]
                    out[f"ofi_l{m + 1}_W{w}"] = sum(g.flow[m] for g in self.groups[first + 1 : row + 1]) / mean(lots)
        first, long = self.base(row, self.windows[1]), self.base(row, self.windows[-1])
        depth = self.best_depth(row)
        names = ("arrival", "cancel", "depletion")
        for name in (
            *(f"queue_{k}_rate" for k in names),
            "depletion_imbalance",
            "improvement_imbalance",
            "cancel_share",
        ):
            out[f"{name}_W1"] = NAN
        out["update_intensity_W1"] = out["order_to_trade_W2"] = NAN
        if first is not None:
            counts = dict.fromkeys(("arrival", "cancel", "depletion"), 0)
            worse, better = [0, 0], [0, 0]
            for before, g in zip(self.groups[first:row], self.groups[first + 1 : row + 1], strict=True):
                for s, sign in ((0, 1), (1, -1)):
                    new = g.sides[s][0] if g.sides[s] else (0, 0)
                    old = before.sides[s][0] if before.sides[s] else (0, 0)
                    flow = _flow(s, new, old)
                    counts["arrival"] += max(flow, 0)
                    counts["cancel"] += max(-flow - g.executed[s], 0)
                    counts["depletion"] += g.executed[s]
                    ahead = sign * (new[0] - old[0])
                    worse[s] += bool(old[1] and (not new[1] or ahead < 0))
                    better[s] += bool(new[1] and (not old[1] or ahead > 0))
            for name in names:
                out[f"queue_{name}_rate_W1"] = counts[name] / depth / (self.windows[1] * 1e-9)
            out["depletion_imbalance_W1"] = (worse[0] - worse[1]) / max(sum(worse), 1)
            out["improvement_imbalance_W1"] = (better[0] - better[1]) / max(sum(better), 1)
            out["cancel_share_W1"] = counts["cancel"] / max(counts["cancel"] + counts["depletion"], 1)
            if long is not None:
                usual = (row - long) * self.windows[1] / self.windows[-1]
                out["update_intensity_W1"] = math.log((1 + row - first) / (1 + usual))
        if long is not None:
            messages = sum(long < g <= row for g in self.messages)
            out["order_to_trade_W2"] = math.log((1 + messages) / (1 + len(self.prints_in(long, row))))
        now = int(self.ts[row])
        for k, decay in enumerate(self.decays):
            warm = math.exp(-decay * 1e-9 * (now - self.since)) <= 1e-3
            total = sum(g.flow[0] * math.exp(-decay * 1e-9 * (now - g.ts)) for g in self.groups[1 : row + 1])
            out[f"ofi_decayed_{k}"] = total / depth if warm else NAN

    def _trades(self, row: int, out: dict[str, float]) -> None:
        mid = self.groups[row].mid2 / 2
        now = int(self.ts[row])
        for w, ns in enumerate(self.windows):
            first = self.base(row, ns)
            out[f"vwap_deviation_bps_W{w}"] = NAN
            if first is not None:
                found = self.prints_in(first, row)
                vwap = sum(p.price * p.lots for p in found) / sum(p.lots for p in found) if found else mid
                out[f"vwap_deviation_bps_W{w}"] = 1e4 * (mid - vwap) / mid
        first, long = self.base(row, self.windows[1]), self.base(row, self.windows[-1])
        for name in ("trade_count_imbalance_W1", "volume_relative_W1", "trade_size_relative_W1"):
            out[name] = NAN
        for name in ("vwap_gap_bps_W2", "hidden_share_W2", "effective_spread_bps_W2"):
            out[name] = NAN
        for h in (0, 1):
            out[f"markout_bps_W{h}"] = out[f"realised_spread_bps_W{h}"] = NAN
        few = [] if first is None else [a for a in self.aggressors if first < a.group <= row]
        if first is not None:
            out["trade_count_imbalance_W1"] = sum(a.sign for a in few) / max(len(few), 1)
        if long is None:
            return
        found = self.prints_in(long, row)
        many = [a for a in self.aggressors if long < a.group <= row]
        lots = sum(p.lots for p in found)
        sides = [[p for p in found if p.sign == s] for s in (1, -1)]
        if all(sides):
            buy, sell = (sum(p.price * p.lots for p in side) / sum(p.lots for p in side) for side in sides)
            out["vwap_gap_bps_W2"] = 1e4 * (buy - sell) / mid
        share = self.windows[1] / self.windows[-1]
        recent = self.prints_in(first, row)
        out["volume_relative_W1"] = sum(p.lots for p in recent) / (max(lots, 1) * share)
        out["trade_size_relative_W1"] = math.log(mean(a.lots for a in few) / mean(a.lots for a in many)) if few else 0.0
        out["hidden_share_W2"] = sum(p.lots for p in found if p.is_hidden) / max(lots, 1)
        signed = [p for p in found if p.sign and p.mid2]
        paid = sum(2 * p.sign * (p.price - p.mid2 / 2) * p.lots for p in signed)
        out["effective_spread_bps_W2"] = 1e4 * paid / max(sum(p.lots for p in signed), 1) / mid
        for h in (0, 1):
            ns = self.windows[h]
            if now - self.since < self.windows[-1] + self.windows[1] + ns:
                continue
            mark = earned = weight = 0.0
            for p in self.prints:
                if not p.sign or not p.mid2 or p.ts + ns >= now:
                    continue
                # Known with the first event after its horizon, which belongs to this group:
                known = int(np.searchsorted(self.ts, p.ts + ns, side="right"))
                if not long < known <= row or self.ts[known] - p.ts - ns >= self.windows[1]:
                    continue
                after = self.groups[known - 1].mid2 / 2
                mark += p.sign * p.lots * (after - p.mid2 / 2)
                earned += p.sign * p.lots * 2 * (p.price - after)
                weight += p.lots
            out[f"markout_bps_W{h}"] = 1e4 * mark / max(weight, 1) / mid
            out[f"realised_spread_bps_W{h}"] = 1e4 * earned / max(weight, 1) / mid

    def _prints(self, row: int, out: dict[str, float]) -> None:
        mid = self.groups[row].mid2 / 2
        names = ("roll_spread_bps", "trade_size_cv", "largest_trade_share", "sweep_share", "trade_run", "burstiness")
        names += ("sign_autocorrelation_1", "sign_autocorrelation_5", "waiting_memory", "trade_age", "volume_below")
        for name in (*names, "trade_return_bps_10", "trade_return_bps_50", "volume_peak_bps"):
            out[name] = NAN
        if self.base(row, self.windows[-1]) is None:
            return
        found = self.recent(row)
        now, longest = int(self.ts[row]), self.windows[-1]
        out["trade_age"] = (now - found[-1].ts) / longest if found else 1.0
        for back in (10, 50):
            if len(found) >= back:
                out[f"trade_return_bps_{back}"] = 1e4 * (mid - found[-back].mid2 / 2) / mid
        if len(found) < 8:
            return
        price, lots = [a.prices[-1] for a in found], [a.lots for a in found]
        sign = [a.sign for a in found]
        moves = np.diff(price).astype(float)
        covariance = float(np.mean((moves[1:] - moves.mean()) * (moves[:-1] - moves.mean())))
        out["roll_spread_bps"] = 1e4 * 2 * math.sqrt(max(-covariance, 0.0)) / mid
        out["trade_size_cv"] = stdev(lots) / mean(lots)
        largest = max(range(len(found)), key=lambda k: (lots[k], k))
        out["largest_trade_share"] = sign[largest] * lots[largest] / sum(lots)
        out["sweep_share"] = mean(len(set(a.prices)) > 1 for a in found)
        run = next((k for k in range(1, len(sign)) if sign[-1 - k] != sign[-1]), len(sign))
        out["trade_run"] = sign[-1] * run / len(sign)
        for lag in (1, 5):
            out[f"sign_autocorrelation_{lag}"] = mean(a * b for a, b in zip(sign[lag:], sign[:-lag], strict=True))
        waits = np.diff([a.ts for a in found]) + 1.0
        sd, mu = waits.std(ddof=1), waits.mean()
        out["burstiness"] = float((sd - mu) / (sd + mu))
        varied = waits[1:].std() > 0 and waits[:-1].std() > 0
        out["waiting_memory"] = float(np.corrcoef(waits[1:], waits[:-1])[0, 1]) if varied else 0.0
        profile: dict[int, int] = {}
        for p, q in zip(price, lots, strict=True):
            profile[p] = profile.get(p, 0) + q
        tops = [p for p, q in profile.items() if q == max(profile.values())]
        near = [p for p in tops if abs(p - mid) == min(abs(t - mid) for t in tops)]
        out["volume_peak_bps"] = 1e4 * (mid - near[0]) / mid if len(near) == 1 else 0.0
        out["volume_below"] = sum(q * np.sign(mid - p) for p, q in zip(price, lots, strict=True)) / sum(lots)

    def _impact(self, row: int, out: dict[str, float]) -> None:
        now, longest = int(self.ts[row]), self.windows[-1]
        out["vpin"] = self._vpin(row, now, longest)
        for name in ("amihud_bps_W2", "hasbrouck_lambda_W2", "impact_fit_W2"):
            out[name] = NAN
        edges = self.grid(row, longest)
        if edges is None:
            return
        mid = self.mid2_at(edges[-1]) / 2
        move = [m / 2 for m in self.moves(edges)]
        inside = [[p for p in self.prints if a <= p.ts < b and p.sign] for a, b in itertools.pairwise(edges)]
        lots = [sum(p.lots for p in cell) for cell in inside]
        flow = [sum(p.sign * p.lots for p in cell) for cell in inside]
        traded = [k for k in range(CELLS) if lots[k]]
        if traded:
            usual = mean(lots[k] for k in traded)
            out["amihud_bps_W2"] = mean(1e4 * abs(move[k]) / mid * usual / lots[k] for k in traded)
        if any(flow):
            scale = mean(abs(v) for v in flow)
            root = [math.copysign(math.sqrt(abs(v) / scale), v) for v in flow]
            slope = sum(1e4 * m / mid * s for m, s in zip(move, root, strict=True)) / sum(s * s for s in root)
            out["hasbrouck_lambda_W2"] = slope
            if any(move):
                cross = sum(m * v for m, v in zip(move, flow, strict=True))
                out["impact_fit_W2"] = cross**2 / (sum(m * m for m in move) * sum(v * v for v in flow))

    def _vpin(self, row: int, now: int, longest: int) -> float:
        closed: list[tuple[int, int, int]] = []
        size = signed = held = opened = 0
        every = 0
        totals = [0]
        for p in self.prints:
            totals.append(totals[-1] + p.lots)
        for k, p in enumerate(self.prints):
            if p.group > row:
                break
            before = self.base_at(p)
            every = totals[k] - (
                totals[int(np.searchsorted(self._print_groups, before, side="right"))] if before >= 0 else 0
            )
            left = p.lots if p.sign and p.mid2 else 0
            while left:
                if not size:
                    size, signed, held, opened = max(every // 10, 1), 0, 0, p.ts
                part = min(left, size - held)
                signed, held, left = signed + p.sign * part, held + part, left - part
                if held == size:
                    closed.append((abs(signed), held, opened))
                    size = 0
        last = []
        for bucket in reversed(closed[-10:]):
            if bucket[2] <= now - 2 * longest:
                break
            last.append(bucket)
        return sum(b[0] for b in last) / sum(b[1] for b in last) if len(last) >= 5 else NAN

    def base_at(self, p: Print) -> int:
        """Return the group at which the longest window began when an execution came: that of the group before it."""
        return max(self.base(p.group - 1, self.windows[-1]) or 0, 0) if p.group else 0

    def _volatility(self, row: int, out: dict[str, float]) -> None:
        names = ("parkinson_bps", "garman_klass_bps", "rogers_satchell_bps", "range_bps", "range_position")
        names += ("jump_statistic", "median_variance_share", "realised_skewness", "realised_kurtosis", "variance_ratio")
        names += (
            "semivariance_imbalance",
            "return_autocorrelation",
            "no_move_share",
            "path_efficiency",
            "volatility_trend",
        )
        for name in names:
            out[f"{name}_W2"] = NAN
        edges = self.grid(row, self.windows[-1])
        if edges is None:
            return
        now, mid2, n = int(self.ts[row]), self.groups[row].mid2, CELLS
        seen = [(g.ts, g.mid2) for g in self.groups[: row + 1]]
        bars = []
        for a, b in zip(edges, [*edges[1:], now + 1], strict=True):
            path = [self.mid2_at(a), *(m for t, m in seen if a <= t < b)]
            bars.append((path[0], max(path), min(path), path[-1]))
        logs = [[math.log(v) for v in bar] for bar in bars[:-1]]
        ln2 = math.log(2)
        out["parkinson_bps_W2"] = 1e4 * math.sqrt(sum((h - l) ** 2 for _, h, l, _ in logs) / (4 * ln2))  # noqa: E741
        terms = [(h - l) ** 2 / 2 - (2 * ln2 - 1) * (c - o) ** 2 for o, h, l, c in logs]  # noqa: E741
        out["garman_klass_bps_W2"] = 1e4 * math.sqrt(max(sum(terms), 0.0))
        terms = [(h - c) * (h - o) + (l - c) * (l - o) for o, h, l, c in logs]  # noqa: E741
        out["rogers_satchell_bps_W2"] = 1e4 * math.sqrt(max(sum(terms), 0.0))
        high, low = max(bar[1] for bar in bars), min(bar[2] for bar in bars)
        out["range_bps_W2"] = 1e4 * (high - low) / mid2
        out["range_position_W2"] = 2 * (mid2 - low) / (high - low) - 1 if high > low else 0.0
        r = np.array(self.moves(edges), float)
        out["no_move_share_W2"] = float((r == 0).mean())
        out["path_efficiency_W2"] = float(r.sum() / np.abs(r).sum()) if r.any() else 0.0
        if not r.any():
            return
        rv, size = float((r**2).sum()), np.abs(r)
        bv = math.pi / 2 * n / (n - 1) * float((size[1:] * size[:-1]).sum())
        mu = 2 ** (2 / 3) * math.gamma(7 / 6) / math.gamma(1 / 2)
        tq = n * mu**-3 * n / (n - 2) * float(((size[2:] * size[1:-1] * size[:-2]) ** (4 / 3)).sum())
        if bv:
            noise = (math.pi**2 / 4 + math.pi - 5) / n * max(1.0, tq / bv**2)
            out["jump_statistic_W2"] = (1 - bv / rv) / math.sqrt(noise)
        med = sum(float(np.median(size[k : k + 3])) ** 2 for k in range(n - 2))
        out["median_variance_share_W2"] = math.pi / (6 - 4 * math.sqrt(3) + math.pi) * n / (n - 2) * med / rv
        out["realised_skewness_W2"] = math.sqrt(n) * float((r**3).sum()) / rv**1.5
        out["realised_kurtosis_W2"] = n * float((r**4).sum()) / rv**2
        out["semivariance_imbalance_W2"] = float((r[r > 0] ** 2).sum() - (r[r < 0] ** 2).sum()) / rv
        out["variance_ratio_W2"] = float((r.reshape(-1, 4).sum(axis=1) ** 2).sum()) / rv
        out["return_autocorrelation_W2"] = float((r[1:] * r[:-1]).sum()) / rv
        short = sum(m * m for m in self.moves(self.grid(row, self.windows[1])))
        if short:
            ratio = math.sqrt(short / self.windows[1]) / math.sqrt(rv / self.windows[-1])
            out["volatility_trend_W2"] = math.log(ratio)

    def _momentum(self, row: int, out: dict[str, float]) -> None:
        now, mid2 = int(self.ts[row]), self.groups[row].mid2
        # Only the last group of a receive time is an update, and the row's own so far:
        ends = [k for k in range(row) if self.ts[k] != self.ts[k + 1]] + [row]
        for back in (20, 100):
            out[f"update_return_bps_{back}"] = NAN
            if len(ends) > back and self.ts[ends[-1 - back]] > now - self.windows[-1]:
                out[f"update_return_bps_{back}"] = 1e4 * (mid2 - self.groups[ends[-1 - back]].mid2) / mid2
        change = [b.mid2 - a.mid2 for a, b in zip(self.groups[:row], self.groups[1 : row + 1], strict=True)]
        first, long = self.base(row, self.windows[1]), self.base(row, self.windows[-1])
        out["mid_move_imbalance_W1"] = out["mid_move_intensity_W1"] = NAN
        if first is not None:
            up, down = sum(c > 0 for c in change[first:]), sum(c < 0 for c in change[first:])
            out["mid_move_imbalance_W1"] = (up - down) / max(up + down, 1)
            if long is not None:
                usual = sum(c != 0 for c in change[long:]) * self.windows[1] / self.windows[-1]
                out["mid_move_intensity_W1"] = math.log((1 + up + down) / (1 + usual))
        moved = [k for k, c in enumerate(change) if c]
        recent = bool(moved) and self.ts[moved[-1] + 1] > now - self.windows[-1]
        out["last_mid_move"] = float(np.sign(change[moved[-1]])) if recent else (NAN if long is None else 0.0)
        edges = self.grid(row, self.windows[-1])
        out["bollinger_z_W2"] = NAN
        if edges is not None:
            closes = np.array([self.mid2_at(edge) for edge in edges[1:]], float)
            sd = closes.std(ddof=1)
            out["bollinger_z_W2"] = float((mid2 - closes.mean()) / sd) if sd else 0.0
        for name in ("rsi", "macd_bps", "macd_histogram_bps"):
            out[name] = NAN
        cell = self.windows[1] // CELLS
        anchor = (self.since // cell + 1) * cell
        boundaries = range(anchor, now // cell * cell + 1, cell)
        if len(boundaries) - 1 < 94:
            return
        closes = [self.mid2_at(edge) for edge in boundaries]
        fast = slow = float(closes[0])
        signal = up = down = 0.0
        for before, close in itertools.pairwise(closes):
            fast, slow = fast + 2 / 13 * (close - fast), slow + 2 / 27 * (close - slow)
            signal += 2 / 10 * (fast - slow - signal)
            up += (max(close - before, 0) - up) / 14
            down += (max(before - close, 0) - down) / 14
        out["rsi"] = (up - down) / (up + down) if up + down else NAN
        out["macd_bps"] = 1e4 * (fast - slow) / mid2
        out["macd_histogram_bps"] = 1e4 * (fast - slow - signal) / mid2
