"""Laws of every slow signal: later rows change no earlier value, cutting the past changes nothing, a slow reference agrees."""

import itertools
import math
import random
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

import numpy as np
import polars as pl
import pytest

from features.signals.columns import HISTORY_SESSIONS, SIGNAL_COLUMNS
from features.signals.onchain import onchain_signals
from features.signals.options import options_signals
from features.signals.sentiment import LexiconSentiment
from features.signals.social import relevance, social_signals
from features.signals.social_repeats import SIMILAR, repeated, words_of
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, Session
from marketdata.settings import Settings
from marketdata.slow_data import SLOW_SCHEMAS
from tests.features.tape import settings

CONFIG: Final = settings(2)
SESSIONS: Final = CONFIG.market_calendar().first_sessions(CONFIG.start_date, 36)
Build = Callable[[Sequence[pl.DataFrame], Settings, Session], pl.DataFrame]
BUILDERS: Final[dict[str, Build]] = {
    "options": options_signals,
    "social": social_signals,
    "onchain": onchain_signals,
}
TONES: Final = ("profit growth", "loss and debt", "meeting monday", "")
HALF_LIFE: Final = 6 * NS_PER_HOUR


@cache
def _frames(kind: str) -> list[pl.DataFrame]:
    """Return one raw frame a session, the same at every call."""
    rng = np.random.default_rng(5)
    return [{"options": _chain, "social": _posts, "onchain": _transfers}[kind](rng, session) for session in SESSIONS]


def _chain(rng: np.random.Generator, session: Session) -> pl.DataFrame:
    rows = []
    for snapshot in range(2):
        ts = session.open_ns + (8 + 8 * snapshot) * NS_PER_HOUR
        for symbol in ("I0", "I1"):
            spot = 100.0 * math.exp(0.02 * rng.standard_normal())
            for days in (20, 50, 110):
                # A new series every ten days, so that young contracts are held against their bucket.
                born = session.date.toordinal() // 10
                for k, strike in enumerate((90.0, 95.0, 100.0, 105.0, 110.0)):
                    for is_call in (True, False):
                        delta = 0.5 + (spot - strike) / 30.0
                        name = f"{symbol}-{days}-{born if k % 2 else 'x'}-{strike:g}-{is_call}"
                        rows.append(
                            {
                                "ts_known": ts + NS_PER_MINUTE,
                                "ts_snapshot": ts,
                                "symbol": symbol,
                                "contract": name,
                                "is_call": is_call,
                                "strike": strike,
                                "expiry_ns": session.open_ns + days * NS_PER_DAY,
                                "bid": None,
                                "ask": 1.0,
                                "mark": 1.0,
                                "iv": 0.5 + 0.1 * rng.random() if rng.random() > 0.05 else None,
                                "delta": delta if is_call else delta - 1.0,
                                "open_interest": float(rng.integers(0, 500)),
                                "volume": float(rng.poisson(5) if rng.random() > 0.02 else 300),
                                "volume_usd": float(rng.integers(0, 300_000)),
                                "underlying": spot,
                            }
                        )
    return pl.DataFrame(rows, schema=SLOW_SCHEMAS["options"])


def _posts(rng: np.random.Generator, session: Session) -> pl.DataFrame:
    at = np.sort(rng.integers(session.open_ns, session.close_ns, 60))
    texts: list[str] = []
    for k in range(60):
        words = " ".join(f"w{n}" for n in rng.integers(0, 400, 9))
        text = f"{TONES[rng.integers(0, 4)]} $I0 {words}{' $I1' if k % 5 == 0 else ''}"
        if k > 3 and rng.random() < 0.2:
            text = f"RT @user: {texts[-2]}" if rng.random() < 0.5 else f"{texts[-3]} indeed"
        texts.append(text)
    return pl.DataFrame(
        {
            "ts_known": at,
            "ts_posted": at - NS_PER_MINUTE,
            "symbol": ["I0" if k % 3 else None for k in range(60)],
            "post_id": [f"{session.date}-{k:03d}" for k in range(60)],
            "text": texts,
            "votes": [None if k % 4 == 0 else int(v) for k, v in enumerate(rng.integers(-3, 60, 60))],
        },
        schema=SLOW_SCHEMAS["social"],
    )


def _transfers(rng: np.random.Generator, session: Session) -> pl.DataFrame:
    count = int(rng.integers(3, 12))
    at = np.sort(rng.integers(session.open_ns, session.close_ns, count))
    late = rng.random(count) < 0.2
    since = np.where(late, at + 3 * NS_PER_HOUR, at - NS_PER_DAY)
    ends = [(("K", ""), ("", "K"), ("K", "B"), ("", ""))[k] for k in rng.integers(0, 4, count)]
    return pl.DataFrame(
        {
            "ts_known": at,
            "ts_block": at - NS_PER_HOUR,
            "symbol": ["I0"] * count,
            "tx_id": [f"{session.date}-{k:03d}" for k in range(count)],
            "amount": rng.lognormal(4.0, 1.0, count),
            "from_label": [a for a, _ in ends],
            "to_label": [b for _, b in ends],
            "label_known_since": since,
            "dormant_days": [float(v) if v > 20 else None for v in rng.integers(0, 90, count)],
        },
        schema=SLOW_SCHEMAS["onchain"],
    )


def _build(kind: str, day: int, frames: list[pl.DataFrame] | None = None) -> pl.DataFrame:
    known = (frames or _frames(kind))[max(0, day + 1 - HISTORY_SESSIONS[kind]) : day + 1]
    return BUILDERS[kind](known, CONFIG, SESSIONS[day])


@pytest.mark.parametrize("kind", list(BUILDERS))
def test_every_column_is_known_at_some_time_and_no_other_is_there(kind: str) -> None:
    found = _build(kind, 35)
    assert tuple(found.columns) == ("ts_known", "symbol", *SIGNAL_COLUMNS[kind])
    never = [name for name in SIGNAL_COLUMNS[kind] if found[name].is_nan().all()]
    assert not never, never


@pytest.mark.parametrize("kind", list(BUILDERS))
@pytest.mark.parametrize("day", [1, 12, 35])
def test_what_is_known_later_changes_no_earlier_value(kind: str, day: int) -> None:
    frames = list(_frames(kind))
    whole = _build(kind, day)
    middle = int(np.median(frames[day]["ts_known"].to_numpy()))
    later = pl.col("ts_known") > middle
    number = {"options": "volume", "social": "votes", "onchain": "amount"}[kind]
    changed = frames[day].filter(~later | (pl.int_range(pl.len()) % 3 > 0))
    changed = changed.with_columns(
        pl.when(later)
        .then(pl.col(number) * 7 + 1)
        .otherwise(pl.col(number))
        .cast(frames[day].schema[number])
        .alias(number)
    )
    frames[day] = changed
    found = _build(kind, day, frames)
    up_to = pl.col("ts_known") <= middle
    first = whole.filter(up_to)
    assert first.height
    assert found.filter(up_to).equals(first)
    assert not found.equals(whole), "the change is one that later values feel"


@pytest.mark.parametrize("kind", list(BUILDERS))
def test_more_past_than_a_day_needs_changes_nothing(kind: str) -> None:
    whole = BUILDERS[kind](_frames(kind), CONFIG, SESSIONS[-1])
    assert _build(kind, 35).equals(whole)


@pytest.mark.parametrize("kind", ["social", "onchain"])
def test_cutting_the_past_into_days_changes_nothing_and_each_row_belongs_to_one_day(kind: str) -> None:
    days = [_build(kind, day) for day in range(30, 36)]
    joined = pl.concat(_frames(kind))
    for day, found in zip(range(30, 36), days, strict=True):
        assert BUILDERS[kind]([joined], CONFIG, SESSIONS[day]).equals(found)
    times = pl.concat(days).select("ts_known", "symbol")
    assert times.is_unique().all()
    assert times["ts_known"].is_sorted()


def _rows(kind: str, day: int) -> list[dict[str, object]]:
    return pl.concat(_frames(kind)[: day + 1]).to_dicts()


def _same(found: dict[str, object], wanted: dict[str, float]) -> None:
    got = {name: float(found[name]) for name in wanted}  # type: ignore[arg-type]  # a row of floats
    assert got == pytest.approx(wanted, nan_ok=True, rel=1e-9, abs=1e-12), found["ts_known"]


def test_transfers_agree_with_a_slow_reference() -> None:
    rows = [row for row in _rows("onchain", 35) if row["symbol"] == "I0"]
    found = _build("onchain", 35).to_dicts()
    assert len(found) > 3
    for line in found:
        now = line["ts_known"]
        flows = sorted(
            (max(r["ts_known"], r["label_known_since"]), r["tx_id"], r["amount"] if r["from_label"] else -r["amount"])
            for r in rows
            if bool(r["from_label"]) != bool(r["to_label"])
        )
        flows = [f for f in flows if f[0] <= now]
        newest = [f[2] for f in flows if f[0] > now - NS_PER_DAY][-30:]
        past = [f[2] for f in flows if f[0] > now - 30 * NS_PER_DAY][: -len(newest) or None]
        wanted = {"onchain_flow_ratio": math.nan, "onchain_flow_z": math.nan}
        if newest:
            wanted["onchain_flow_ratio"] = sum(newest) / sum(map(abs, newest))
            if len(past) >= 30:
                error = float(np.std(past, ddof=1)) / math.sqrt(len(newest))
                wanted["onchain_flow_z"] = (sum(newest) / len(newest) - sum(past) / len(past)) / error
        seen = [r for r in rows if now - 30 * NS_PER_DAY < r["ts_known"] <= now]
        day = [r for r in seen if r["ts_known"] > now - NS_PER_DAY]
        days = {(now - r["ts_known"]) // NS_PER_DAY for r in seen}
        mean = sum(r["amount"] for r in seen) / len(days)
        wanted["onchain_activity"] = math.log(sum(r["amount"] for r in day) / mean) if day else math.nan
        rested = [r for r in day if r["dormant_days"] is not None]
        coins = sum(r["amount"] for r in rested)
        sums = sum(r["amount"] * math.log(1 + r["dormant_days"]) for r in rested)
        wanted["onchain_dormancy"] = sums / coins if rested else math.nan
        _same(line, wanted)


def test_posts_agree_with_a_slow_reference() -> None:
    day = 5
    lexicon = LexiconSentiment()
    rows = [
        r | {"score": lexicon.score([r["text"]])[0]}
        for r in _rows("social", day)
        if r["symbol"] == "I0" or (r["symbol"] is None and "$I0" in r["text"])
    ]
    rows.sort(key=lambda r: r["ts_known"])
    for k, row in enumerate(rows):
        before = [r for r in rows[:k] if r["ts_known"] > row["ts_known"] - NS_PER_DAY]
        row["repeat"] = any(_is_like(row["text"], other["text"]) for other in before)
    found = [line for line in _build("social", day).to_dicts() if line["symbol"] == "I0"]
    assert len(found) > 40
    for line in found[::7]:
        now = line["ts_known"]
        window = [r for r in rows if now - NS_PER_DAY < r["ts_known"] <= now]
        hour = sum(r["ts_known"] > now - NS_PER_HOUR for r in window)
        own = [r for r in window if not r["repeat"]]
        mean, spread = _weighted(own[-50:], now)
        recent = [r for r in own if r["ts_known"] > now - HALF_LIFE]
        rest = [r for r in own if r["ts_known"] <= now - HALF_LIFE]
        _same(
            line,
            {
                "social_sentiment": mean,
                "social_dispersion": spread,
                "social_attention": math.log(1 + hour) - math.log(1 + len(window) / 24),
                "social_sentiment_change": _weighted(recent, now)[0] - _weighted(rest, now)[0],
                "social_repeats": sum(r["repeat"] for r in window) / len(window),
            },
        )


def _is_like(one: str, other: str) -> bool:
    first, second = words_of(one), words_of(other)
    pairs = set(itertools.pairwise(first)), set(itertools.pairwise(second))
    return first == second or len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1]) >= SIMILAR


def _weighted(posts: list[dict[str, float]], now: int) -> tuple[float, float]:
    if len(posts) < 10:
        return math.nan, math.nan
    weights = [
        (1 + math.log(1 + max(r["votes"] or 0, 0)))
        * relevance(str(r["text"]))
        * 0.5 ** ((now - r["ts_known"]) / HALF_LIFE)
        for r in posts
    ]
    mean = sum(w * r["score"] for w, r in zip(weights, posts, strict=True)) / sum(weights)
    square = sum(w * (r["score"] - mean) ** 2 for w, r in zip(weights, posts, strict=True)) / sum(weights)
    return mean, math.sqrt(square)


def test_minhash_finds_what_comparing_every_pair_finds() -> None:
    draw = random.Random(3)
    texts: list[str] = []
    for k in range(300):
        words = [f"w{draw.randrange(200)}" for _ in range(14)]
        if k > 10 and k % 3 == 0:
            words = texts[-draw.randrange(1, 10)].split()
            for _ in range(draw.randrange(4)):
                words[draw.randrange(len(words))] = "other"
        texts.append(" ".join(words))
    times = np.arange(300, dtype=np.int64)
    found = repeated(times, texts, 40)
    wanted = [any(_is_like(texts[k], texts[j]) for j in range(max(0, k - 39), k)) for k in range(300)]
    assert sum(wanted) > 40
    missed = sum(w and not f for f, w in zip(found, wanted, strict=True))
    assert not any(f and not w for f, w in zip(found, wanted, strict=True)), "what it finds is checked exactly"
    assert missed <= 0.05 * sum(wanted)


def test_option_chains_agree_with_a_slow_reference() -> None:
    day = 35
    frames = _frames("options")
    today, before = frames[day].to_dicts(), frames[day - 1].to_dicts()
    found = {(line["ts_known"], line["symbol"]): line for line in _build("options", day).to_dicts()}
    assert len(found) == 4
    last_interest = {r["contract"]: r["open_interest"] for r in before}
    for (now, symbol), line in found.items():
        rows = [r for r in today if (r["ts_known"], r["symbol"]) == (now, symbol)]
        for row in rows:
            row["days"] = (row["expiry_ns"] - row["ts_snapshot"]) / NS_PER_DAY
            row["unusual"] = _score(row, frames[:day]) > 3 and row["volume_usd"] > 100_000
        short = [r for r in rows if r["days"] < 30]
        odd = [r for r in short if r["unusual"]]
        spent = sum(r["volume_usd"] for r in odd)
        signed = sum(_sign(r) * r["volume_usd"] for r in odd)
        change = sum(_sign(r) * (r["open_interest"] - last_interest.get(r["contract"], 0.0)) for r in rows)
        had = sum(last_interest.get(r["contract"], 0.0) for r in rows)
        gammas = [_gamma(r) for r in rows]
        terms = _terms(rows)
        path = sorted({(r["ts_snapshot"], r["underlying"]) for r in _rows("options", day) if r["symbol"] == symbol})
        path = [p for p in path if now - NS_PER_MINUTE - 30 * NS_PER_DAY < p[0] <= now - NS_PER_MINUTE]
        moves = sum(math.log(b[1] / a[1]) ** 2 for a, b in itertools.pairwise(path))
        realised = math.sqrt(moves * 365 * NS_PER_DAY / (path[-1][0] - path[0][0]))
        _same(
            line,
            {
                "options_unusual_score": signed / spent if spent else 0.0,
                "options_unusual_share": spent / sum(r["volume_usd"] for r in short),
                "options_volume_imbalance": _lean(rows, "volume"),
                "options_interest_imbalance": _lean(rows, "open_interest"),
                "options_interest_change": change / had,
                "options_gamma_ratio": sum(_sign(r) * g for r, g in zip(rows, gammas, strict=True)) / sum(gammas),
                "options_iv_realised": math.log(terms["options_atm_iv"] / realised),
                **terms,
            },
        )


def _sign(row: dict[str, object]) -> int:
    return 1 if row["is_call"] else -1


def _lean(rows: list[dict[str, float]], name: str) -> float:
    return sum(_sign(r) * r[name] for r in rows) / sum(r[name] for r in rows)


def _score(row: dict[str, float], earlier: list[pl.DataFrame]) -> float:
    """Return the z of a contract's volume, or of its bucket where it has fewer than ten daily rows."""
    past = pl.concat(earlier[-30:])
    own = past.filter(pl.col("contract") == row["contract"]).sort("ts_known")
    daily = own.group_by(pl.col("ts_known") // NS_PER_DAY, maintain_order=True).last()["volume"].to_list()
    if len(daily) >= 10:
        return (row["volume"] - sum(daily) / len(daily)) / float(np.std(daily, ddof=1))
    same = [
        math.log(1 + r["volume"])
        for r in past.filter((pl.col("symbol") == row["symbol"]) & (pl.col("is_call") == row["is_call"])).to_dicts()
        if _bucket(r) == _bucket(row)
    ]
    centre = float(np.median(same))
    return (math.log(1 + row["volume"]) - centre) / (1.4826 * float(np.median(np.abs(np.array(same) - centre))))


def _bucket(row: dict[str, float]) -> tuple[int, int]:
    money, days = math.log(row["strike"] / row["underlying"]), (row["expiry_ns"] - row["ts_snapshot"]) / NS_PER_DAY
    edges = (-0.30, -0.15, -0.05, 0.05, 0.15, 0.30), (7, 30, 90)
    return sum(money > edge for edge in edges[0]), sum(days > edge for edge in edges[1])


def _gamma(row: dict[str, float]) -> float:
    """Return open interest times the gamma of two Black-Scholes prices' second difference, times S²."""
    if row["iv"] is None:
        return 0.0
    root = row["iv"] * math.sqrt(row["days"] / 365)
    away = math.log(row["underlying"] / row["strike"]) / root + root / 2
    return row["open_interest"] * row["underlying"] * math.exp(-(away**2) / 2) / math.sqrt(2 * math.pi) / root


def _terms(rows: list[dict[str, float]]) -> dict[str, float]:
    smiles = []
    for days in sorted({r["days"] for r in rows}):
        calls, puts = (
            sorted((r["delta"], r["iv"]) for r in rows if r["days"] == days and r["iv"] and bool(r["is_call"]) is side)
            for side in (True, False)
        )
        at = [_line(calls, 0.5), _line(puts, -0.5), _line(calls, 0.25), _line(puts, -0.25)]
        smiles.append((days, (at[0] + at[1]) / 2, at[2] - at[3], (at[2] + at[3]) / 2 - (at[0] + at[1]) / 2))
    (near, far) = next((a, b) for a, b in itertools.pairwise(smiles) if a[0] <= 30 <= b[0])
    share = (30 - near[0]) / (far[0] - near[0])
    variance = (1 - share) * near[1] ** 2 * near[0] + share * far[1] ** 2 * far[0]
    x, y = np.log([s[0] / 30 for s in smiles]), np.array([s[1] for s in smiles])
    return {
        "options_atm_iv": math.sqrt(variance / 30),
        "options_skew": (1 - share) * near[2] + share * far[2],
        "options_butterfly": (1 - share) * near[3] + share * far[3],
        "options_term_slope": float(np.polyfit(x, y, 1)[0]),
        "options_term_curvature": float(np.polyfit(x, y, 2)[0]),
    }


def _line(points: list[tuple[float, float]], at: float) -> float:
    for (a, u), (b, v) in itertools.pairwise(points):
        if a <= at <= b:
            return u + (v - u) * (at - a) / (b - a)
    raise AssertionError("the deltas lie on both sides")
