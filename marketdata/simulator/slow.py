"""The slow data beside the tape: option chains, posts and transfers, each driven by the slow mood with its own delay and noise.

In the market world the slow mood is the one that tilts the market; in the control worlds it is independent of it.
"""

from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, Session
from marketdata.instruments import Instrument
from marketdata.settings import Settings
from marketdata.simulator.latent import Latent, generator
from marketdata.simulator.parameters import REGIME_NEWS_VARIANCE, STEP_S
from marketdata.simulator.truth import MarketTruth, efficient_price

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

OPTION_DELAY_S: Final = 20.0
OPTION_MOOD_LAG_S: Final = 600.0
POST_MOOD_LAG_S: Final = 1_200.0
TRANSFER_MOOD_LAG_S: Final = 1_800.0
"""How late each family reacts to the mood; an option snapshot is known 20 s after it was taken."""

CONTRACT_MULTIPLIER: Final = 100.0
STRIKE_STEP_SHARE: Final = 0.02
YEAR_DAYS: Final = 365.0

EXCHANGES: Final = ("Northgate", "Harbour", "Meridian", "Castle")
"""Invented exchanges; an address without a label has the empty string."""

POSITIVE: Final = (
    "${s} looking strong today, buyers everywhere and great results ahead",
    "Upgraded ${s} to buy, earnings beat expectations and profit is rising",
    "Bullish on ${s}: record revenue, solid growth, adding more",
    "${s} breaking out, excellent momentum and a big win for holders",
    "Impressed by ${s}, margins improved and guidance was raised",
)
NEGATIVE: Final = (
    "${s} looks weak, sellers in control and losses are growing",
    "Downgraded ${s} to sell, earnings missed and guidance was cut",
    "Bearish on ${s}: falling revenue, rising debt, getting out",
    "${s} breaking down, terrible momentum and a bad loss for holders",
    "Worried about ${s}, margins declined and a lawsuit was filed",
)
NEUTRAL: Final = (
    "${s} trades near yesterday's close, waiting for the report",
    "What is everyone's view on ${s} this week?",
    "${s} annual meeting is scheduled for next month",
    "Reading the filing of ${s}, nothing new so far",
    "${s} volume is about average this morning",
)

OPENERS: Final = (
    *(
        "",
        "Quick note: ",
        "My take: ",
        "Morning all. ",
        "From the desk: ",
        "For what it is worth, ",
        "Just looked again: ",
    ),
    *("Third time I say it, ", "Chart of the day: ", "Asked around, and ", "After the call: ", "Not advice, but "),
)
TAILS: Final = (
    *("", " and that is all I have to say", ", let us see what Friday brings", " as far as I can tell from here"),
    *(
        " while the rest of the sector sleeps",
        ", curious what others think about it",
        " after reading both reports twice",
    ),
    *(", will look at it again next week", " going into the second half of the day", ", same as my neighbour told me"),
    *(" when I compare it with its peers", ", at least on the hourly picture"),
)
"""What people put around a phrase; none of it has a tone. Few posts of a day have all three parts in common."""
REPOST_SHARE: Final = 0.06
"""Posts that only pass an earlier one on."""
DORMANT_SHARE: Final = 0.6
"""Transfers whose sender's last receipt is known."""
EXPIRIES: Final = 3
FADE_DAYS: Final = 45.0
TERM_SLOPE: Final = 0.006
"""A regime's stress moves near expiries most: its part in volatility fades with the tenor over a slope in log tenor."""


def simulate_options(settings: Settings, session: Session, latent: Latent, truth: MarketTruth) -> pl.DataFrame:
    """Return the option chains of a session: ``option_snapshots`` snapshots of ``option_contracts`` contracts an instrument.

    Prices are Black-Scholes (no rate, no dividend) on a smile whose skew leans with the mood. ``volume`` counts the contracts
    traded since the snapshot before, ``open_interest`` is last night's, as published.
    """
    count = settings.simulator.option_snapshots
    span = session.close_ns - session.open_ns
    times = session.open_ns + (np.arange(1, count + 1) * span) // (count + 1)
    frames = [_chain(settings, session, latent, truth, item, times) for item in settings.instruments]
    return pl.concat(frames).sort("ts_known", "symbol", "contract", maintain_order=True)


def _chain(
    settings: Settings, session: Session, latent: Latent, truth: MarketTruth, item: Instrument, times: Int64
) -> pl.DataFrame:
    from scipy.special import ndtr

    rng = generator(settings.simulator.seed, session.date, f"options/{item.symbol}")
    spot = efficient_price(truth, item.symbol, times) * item.price_decimals
    names, strike, expiry_ns, is_call = _contracts(settings, session, item, spot[0])
    contracts, snapshots = len(names), len(times)
    step = _grid_step(session, times, latent.steps)
    mood = _lagged(latent.slow_mood, step, OPTION_MOOD_LAG_S)[:, None]
    stress = np.sqrt(np.array(REGIME_NEWS_VARIANCE))[latent.regime[step]][:, None]
    shape = (snapshots, contracts)
    years = (expiry_ns[None, :] - times[:, None]) / (NS_PER_DAY * YEAR_DAYS)
    root = np.sqrt(years)
    away = np.log(strike[None, :] / spot[:, None]) / root
    skew = -0.08 + 0.03 * mood
    days = years * YEAR_DAYS
    level = 0.20 + 0.03 * (stress - 1.0) * np.exp(-days / FADE_DAYS) + TERM_SLOPE * np.log(days / 30.0)
    iv = level + skew * away * 0.3 + 0.05 * away**2 + 0.004 * rng.standard_normal(shape)
    iv = np.clip(iv, 0.05, 2.0)
    d1 = -away / iv + 0.5 * iv * root
    d2 = d1 - iv * root
    call = spot[:, None] * ndtr(d1) - strike[None, :] * ndtr(d2)
    mark = np.maximum(np.where(is_call, call, call - spot[:, None] + strike[None, :]), 0.01)
    delta = np.where(is_call, ndtr(d1), ndtr(d1) - 1.0)
    half = np.maximum(0.01, 0.015 * mark)
    lean = np.where(is_call, 1.0, -1.0)[None, :]
    typical = 25.0 * np.exp(-8.0 * np.abs(np.log(strike[None, :] / spot[:, None])) + 0.5 * lean * mood)
    volume = rng.poisson(typical * rng.gamma(2.0, 0.5, shape))
    is_block = rng.random(shape) < 0.004 * np.exp(0.8 * lean * mood)
    volume = volume + np.where(is_block, rng.integers(400, 2_000, shape), 0)
    interest = rng.poisson(800.0 * np.exp(-6.0 * np.abs(np.log(strike / spot[0]))))
    return pl.DataFrame(
        {
            "ts_known": np.repeat(times + int(OPTION_DELAY_S * NS_PER_S), contracts),
            "ts_snapshot": np.repeat(times, contracts),
            "symbol": [item.symbol] * (snapshots * contracts),
            "contract": names * snapshots,
            "is_call": np.tile(is_call, snapshots),
            "strike": np.tile(strike, snapshots),
            "expiry_ns": np.tile(expiry_ns, snapshots),
            "bid": np.round(np.maximum(mark - half, 0.0), 2).ravel(),
            "ask": np.round(mark + half, 2).ravel(),
            "mark": np.round(mark, 4).ravel(),
            "iv": np.round(iv, 6).ravel(),
            "delta": np.round(delta, 6).ravel(),
            "open_interest": np.tile(interest.astype(np.float64), snapshots),
            "volume": volume.astype(np.float64).ravel(),
            "volume_usd": np.round(volume * mark * CONTRACT_MULTIPLIER, 2).ravel(),
            "underlying": np.repeat(np.round(spot, 4), contracts),
        }
    )


def _contracts(
    settings: Settings, session: Session, item: Instrument, spot: float
) -> tuple[list[str], Float64, Int64, npt.NDArray[np.bool_]]:
    """Return names, strikes, expiries and call flags: strikes round the price on a fixed grid, three monthly expiries."""
    total = settings.simulator.option_contracts
    pairs = (total + 1) // 2
    expiries = [day for day in _third_fridays(session.date) if (day - session.date).days >= 5][: min(EXPIRIES, pairs)]
    per_expiry = -(-pairs // len(expiries))
    step = _strike_step(item)
    first = round(spot / step) - per_expiry // 2
    names: list[str] = []
    rows: list[tuple[float, int, bool]] = []
    for day in expiries:
        expiry_ns = (day - date(1970, 1, 1)).days * NS_PER_DAY + 20 * NS_PER_HOUR
        for k in range(per_expiry):
            strike = round((first + k) * step, 6)
            for is_call in (True, False):
                names.append(f"{item.symbol}-{day:%Y%m%d}-{strike:g}-{'C' if is_call else 'P'}")
                rows.append((strike, expiry_ns, is_call))
    rows, names = rows[:total], names[:total]
    return (
        names,
        np.array([r[0] for r in rows]),
        np.array([r[1] for r in rows], np.int64),
        np.array([r[2] for r in rows]),
    )


def _strike_step(item: Instrument) -> float:
    """Return a round strike distance near two per cent of a price of 10,000 units."""
    raw = 10_000 * item.price_decimals * STRIKE_STEP_SHARE
    power = 10.0 ** np.floor(np.log10(raw))
    return float(min((1.0, 2.0, 2.5, 5.0, 10.0), key=lambda m: abs(m * power - raw)) * power)


def _third_fridays(after: date) -> list[date]:
    found = []
    year, month = after.year, after.month
    for _ in range(EXPIRIES + 2):
        first = date(year, month, 1)
        found.append(first + timedelta(days=(4 - first.weekday()) % 7 + 14))
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return found


def simulate_posts(settings: Settings, session: Session, latent: Latent) -> pl.DataFrame:
    """Return the posts of a session, ``posts`` an instrument: cashtag, tone leaning with the mood, votes when collected."""
    frames = []
    for item in settings.instruments:
        rng = generator(settings.simulator.seed, session.date, f"posts/{item.symbol}")
        times, step = _arrivals(rng, session, latent, settings.simulator.posts)
        lean = 0.9 * _lagged(latent.slow_mood, step, POST_MOOD_LAG_S) + 0.6 * rng.standard_normal(len(times))
        weights = np.exp(np.stack([lean, -lean, np.full(len(times), 0.6)], axis=1))
        bounds = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
        tone = np.minimum((rng.random(len(times))[:, None] > bounds).sum(axis=1), 2)
        phrase = rng.integers(0, 5, len(times))
        families = (POSITIVE, NEGATIVE, NEUTRAL)
        phrases = [families[t][p].replace("${s}", f"${item.symbol}") for t, p in zip(tone, phrase, strict=True)]
        texts = _worded(generator(settings.simulator.seed, session.date, f"posts-words/{item.symbol}"), phrases)
        # Collected by polling: half a minute to five minutes after posting.
        known = times + (rng.uniform(30.0, 300.0, len(times)) * NS_PER_S).astype(np.int64)
        frames.append(
            pl.DataFrame(
                {
                    "ts_known": known,
                    "ts_posted": times,
                    "symbol": [item.symbol] * len(times),
                    "post_id": [f"{session.date:%Y%m%d}-{item.symbol}-{k:05d}" for k in range(len(times))],
                    "text": texts,
                    "votes": np.floor(rng.pareto(1.3, len(times)) * 3.0).clip(0, 5_000).astype(np.int64),
                }
            )
        )
    return pl.concat(frames).sort("ts_known", "symbol", "post_id", maintain_order=True)


def _worded(rng: np.random.Generator, phrases: list[str]) -> list[str]:
    """Return the phrases with something before and after them; a few pass an earlier post of the same phrase on."""
    before, after = (rng.integers(0, len(parts), len(phrases)) for parts in (OPENERS, TAILS))
    is_repost = rng.random(len(phrases)) < REPOST_SHARE
    latest: dict[str, str] = {}
    found = []
    for k, phrase in enumerate(phrases):
        if is_repost[k] and phrase in latest:
            found.append(f"RT @user: {latest[phrase]}")
            continue
        latest[phrase] = f"{OPENERS[before[k]]}{phrase}{TAILS[after[k]]}"
        found.append(latest[phrase])
    return found


def simulate_transfers(settings: Settings, session: Session, latent: Latent) -> pl.DataFrame:
    """Return the large transfers of a session, ``transfers`` an instrument, known three minutes or more after their block.

    In a good mood coins leave the exchanges. Some are moves inside one exchange. A label is published before the session
    (``label_known_since``) but for a few that become known only hours later. Coins that are sent in a bad mood have rested longer
    (``dormant_days``, known of some).
    """
    frames = []
    for item in settings.instruments:
        rng = generator(settings.simulator.seed, session.date, f"transfers/{item.symbol}")
        times, step = _arrivals(rng, session, latent, settings.simulator.transfers)
        n = len(times)
        lean = 0.8 * _lagged(latent.slow_mood, step, TRANSFER_MOOD_LAG_S)
        kind = rng.random(n)
        is_inside = kind < 0.08
        is_unlabelled = (kind >= 0.08) & (kind < 0.30)
        is_out = rng.random(n) < 1.0 / (1.0 + np.exp(-lean))
        exchange = np.array(EXCHANGES)[rng.integers(0, len(EXCHANGES), n)]
        sender = np.where(is_inside | (~is_unlabelled & is_out), exchange, "")
        receiver = np.where(is_inside | (~is_unlabelled & ~is_out), exchange, "")
        late = rng.random(n) < 0.1
        days_before = rng.integers(5, 400, n).astype(np.int64) * NS_PER_DAY
        since = np.where(late, times + 2 * NS_PER_HOUR, session.open_ns - days_before)
        rests = generator(settings.simulator.seed, session.date, f"transfers-rest/{item.symbol}")
        dormant = np.round(np.exp(1.5 - 0.5 * lean + 1.5 * rests.standard_normal(n)), 4)
        is_known = rests.random(n) < DORMANT_SHARE
        known = times + ((180.0 + rng.exponential(240.0, n)) * NS_PER_S).astype(np.int64)
        frames.append(
            pl.DataFrame(
                {
                    "ts_known": known,
                    "ts_block": times,
                    "symbol": [item.symbol] * n,
                    "tx_id": [f"{session.date:%Y%m%d}-{item.symbol}-{k:05d}" for k in range(n)],
                    "amount": np.round(np.exp(rng.normal(4.5, 0.9, n)), 4),
                    "from_label": sender.tolist(),
                    "to_label": receiver.tolist(),
                    "label_known_since": since,
                    "dormant_days": pl.Series(np.where(is_known, dormant, np.nan)).fill_nan(None),
                }
            )
        )
    return pl.concat(frames).sort("ts_known", "symbol", "tx_id", maintain_order=True)


def _arrivals(rng: np.random.Generator, session: Session, latent: Latent, count: int) -> tuple[Int64, Int64]:
    """Return ordered arrival times that follow the day's activity, and their grid steps."""
    share = np.cumsum(latent.activity)
    position = np.interp(np.sort(rng.random(count)) * share[-1], share, np.arange(1, latent.steps + 1))
    times = session.open_ns + np.rint(position * STEP_S * NS_PER_S).astype(np.int64)
    times = np.minimum(times, session.close_ns - 1)
    return times, _grid_step(session, times, latent.steps)


def _grid_step(session: Session, times: Int64, steps: int) -> Int64:
    return np.minimum(((times - session.open_ns) / NS_PER_S / STEP_S).astype(np.int64), steps - 1)


def _lagged(path: Float64, step: Int64, lag_s: float) -> Float64:
    return path[np.maximum(step - int(lag_s / STEP_S), 0)]
