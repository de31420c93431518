"""Slow signals: baselines exclude the day itself, labels and posts count from when they were known."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.signals.columns import SIGNAL_COLUMNS, SLOW_KINDS
from features.signals.onchain import onchain_signals, onchain_summary
from features.signals.options import options_signals
from features.signals.options_baseline import (
    BASELINE_ROWS,
    SHORT_TENOR_DAYS,
    UNUSUAL_USD,
    UNUSUAL_Z,
    contract_z,
    daily_rows,
    unusual_activity,
)
from features.signals.options_smile import expiry_smile
from features.signals.sentiment import LexiconSentiment
from features.signals.social import mentions, relevance, social_signals
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S, Session, from_ns
from tests.features.tape import OPEN_NS, SESSION, settings

CONFIG = settings(2)


def _chain(day: int, volumes: dict[tuple[str, bool, float], float], *, usd: float = 50_000.0) -> pl.DataFrame:
    ts = OPEN_NS + day * NS_PER_DAY
    rows = [
        {
            "ts_known": ts + 20 * NS_PER_S,
            "ts_snapshot": ts,
            "symbol": symbol,
            "contract": f"{symbol}-{'C' if is_call else 'P'}-{strike:g}",
            "is_call": is_call,
            "strike": strike,
            "expiry_ns": OPEN_NS + 60 * NS_PER_DAY,
            "iv": 0.5 + (0.1 if is_call else 0.0) + abs(strike - 100.0) / 1_000,
            "delta": (0.5 if is_call else -0.5) - (strike - 100.0) / 40.0,
            "open_interest": 10.0 * volume,
            "volume": volume,
            "volume_usd": usd * volume,
            "underlying": 100.0,
        }
        for (symbol, is_call, strike), volume in volumes.items()
    ]
    return pl.DataFrame(rows)


def _history(days: int) -> list[pl.DataFrame]:
    rng = np.random.default_rng(0)
    keys = [("I0", is_call, strike) for is_call in (True, False) for strike in (90.0, 100.0, 110.0)]
    return [_chain(day, {key: float(rng.poisson(10)) for key in keys}) for day in range(days)]


def test_the_baseline_is_the_contracts_own_last_thirty_rows_without_today() -> None:
    history = _history(45)
    today = _chain(45, {("I0", True, 100.0): 40.0})
    volumes = [float(f.filter(pl.col("contract") == "I0-C-100")["volume"][0]) for f in history[-30:]]
    z = contract_z(today, daily_rows(history))["z"][0]
    assert z == pytest.approx((40.0 - np.mean(volumes)) / np.std(volumes, ddof=1))


def test_a_contract_with_nine_rows_has_no_baseline_of_its_own_but_its_bucket() -> None:
    history = _history(9)
    today = _chain(9, {("I0", True, 100.0): 400.0})
    found = unusual_activity(today, history)
    assert found["z"].null_count() == 1
    assert found["bucket_z"].null_count() == 1
    more = unusual_activity(_chain(12, {("I0", True, 101.0): 400.0}), _history(12))
    assert more["z"].null_count() == 1
    assert more["bucket_z"][0] > 3
    assert more["is_unusual"][0]


def test_the_option_score_is_calls_against_puts_in_unusual_premium() -> None:
    history = _history(20)
    calm = {("I0", is_call, 100.0): 10.0 for is_call in (True, False)}
    assert options_signals([*history, _chain(31, calm)], CONFIG, SESSION)["options_unusual_score"][0] == 0.0
    calls = calm | {("I0", True, 100.0): 90.0}
    assert options_signals([*history, _chain(31, calls)], CONFIG, SESSION)["options_unusual_score"][0] == 1.0
    both = {("I0", True, 100.0): 90.0, ("I0", False, 100.0): 30.0}
    mixed = options_signals([*history, _chain(31, both)], CONFIG, SESSION)
    assert mixed["options_unusual_score"][0] == pytest.approx(0.5)
    long_dated = options_signals([*history, _chain(25, calls)], CONFIG, SESSION)
    assert long_dated["options_unusual_score"][0] == 0.0


def test_the_first_day_has_no_score_and_the_smile_is_read_at_its_deltas() -> None:
    found = options_signals(_history(1), CONFIG, SESSION)
    assert found.columns == ["ts_known", "symbol", *SIGNAL_COLUMNS["options"]]
    assert np.isnan(found["options_unusual_score"][0])
    # Strike 110: call delta 0.25; strike 90: put delta -0.25. One expiry, so it stands for 30 days and has no slope.
    assert found["options_skew"][0] == pytest.approx(0.61 - 0.51)
    assert found["options_atm_iv"][0] == pytest.approx(0.55)
    assert -1.0 <= found["options_volume_imbalance"][0] <= 1.0


def _session(day: int) -> Session:
    start = OPEN_NS + day * NS_PER_DAY
    return Session(from_ns(start).date(), start, start + NS_PER_DAY)


def _words(tone: str, count: int) -> list[str]:
    """Return texts of one tone that have no two words in common but the tone."""
    return [f"{tone} a{k} b{k} c{k} d{k}" for k in range(count)]


def _posts(
    texts: list[str], *, symbol: str | None = "I0", start: int = 0, votes: list[int | None] | None = None
) -> pl.DataFrame:
    ts = [OPEN_NS + start + k * 60 * NS_PER_S for k in range(len(texts))]
    return pl.DataFrame(
        {
            "ts_known": ts,
            "ts_posted": ts,
            "symbol": [symbol] * len(texts),
            "post_id": [f"{start}-{k}" for k in range(len(texts))],
            "text": texts,
            "votes": votes or [None] * len(texts),
        },
        schema_overrides={"votes": pl.Int64, "symbol": pl.String},
    )


def test_sentiment_needs_ten_posts_that_repeat_none() -> None:
    found = social_signals([_posts(_words("profit", 12))], CONFIG, SESSION)
    assert found["social_sentiment"].to_list()[9:] == pytest.approx([1.0, 1.0, 1.0])
    assert np.isnan(found["social_sentiment"].to_numpy()[:9]).all()
    copied = social_signals([_posts(["profit and growth at last"] * 30)], CONFIG, SESSION)
    assert copied["social_sentiment"].is_nan().all()
    assert copied["social_repeats"][-1] == pytest.approx(29 / 30)
    assert copied["social_attention"][-1] > 0, "they are attention all the same"


def test_votes_weigh_but_never_below_one_post() -> None:
    texts = _words("profit", 5) + [text.replace("a", "e") for text in _words("loss", 6)]
    plain = social_signals([_posts(texts)], CONFIG, SESSION)["social_sentiment"][-1]
    weights = 0.5 ** (np.arange(10, -1, -1) / 360)
    assert plain == pytest.approx(weights @ np.repeat([1, -1], [5, 6]) / weights.sum()), "halved every six hours"
    liked = social_signals([_posts(texts, votes=[100] * 5 + [0] * 6)], CONFIG, SESSION)["social_sentiment"][-1]
    assert liked > 0.5
    hated = social_signals([_posts(texts, votes=[-100] * 5 + [0] * 6)], CONFIG, SESSION)["social_sentiment"][-1]
    assert hated == plain
    without = social_signals([_posts(texts, votes=[0] * 11)], CONFIG, SESSION)["social_sentiment"][-1]
    assert without == plain, "a source without votes weighs every post the same"


def test_a_post_that_names_many_counts_less_for_each() -> None:
    assert relevance("nothing named") == 1.0
    assert relevance("$I0 up") == 1.0
    assert relevance("$I0 $i0 $I1 $TSLA.") == pytest.approx(1 / 3)


def test_a_post_without_a_symbol_counts_for_each_instrument_it_names() -> None:
    texts = [f"$i0 {text}" for text in _words("profit", 10)] + [f"I0 and I1 {text}" for text in _words("loss", 10)]
    found = social_signals([_posts(texts, symbol=None)], CONFIG, SESSION)
    assert found["symbol"].value_counts().sort("symbol")["count"].to_list() == [20, 10]


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("buy $BTC now", True),
        ("buy $btc now", True),
        ("BTC rose", True),
        ("btc rose", False),
        ("BTCX", False),
        ("$BTCX", False),
    ],
)
def test_a_ticker_is_a_cashtag_or_a_word_in_capitals(text: str, is_named: bool) -> None:
    assert mentions(text, "BTC") == is_named


def test_posts_of_the_day_before_count_but_give_no_rows() -> None:
    before = _posts(_words("loss", 30))
    today = _posts(_words("profit", 3), start=4 * NS_PER_HOUR)
    found = social_signals([before, today], CONFIG, _session(1))
    assert found["ts_known"].to_list() == today["ts_known"].to_list()
    assert found["social_sentiment"][0] < 0


def _transfers(
    signs: list[int], *, start: int = 0, label_delay: int = -NS_PER_DAY, amount: float = 100.0
) -> pl.DataFrame:
    ts = [OPEN_NS + start + k * 60 * NS_PER_S for k in range(len(signs))]
    labels = {1: ("Kraken", ""), -1: ("", "Kraken"), 0: ("Kraken", "Binance"), 2: ("", "")}
    return pl.DataFrame(
        {
            "ts_known": ts,
            "ts_block": ts,
            "symbol": ["I0"] * len(signs),
            "tx_id": [f"{start}-{k:04d}" for k in range(len(signs))],
            "amount": [amount + k % 7 for k in range(len(signs))],
            "from_label": [labels[s][0] for s in signs],
            "to_label": [labels[s][1] for s in signs],
            "label_known_since": [t + label_delay for t in ts],
        }
    )


def test_outflow_is_positive_and_moves_between_exchanges_or_strangers_are_no_flow() -> None:
    found = onchain_signals([_transfers([1, 0, 2, 1, -1])], CONFIG, SESSION)
    ratios = [1.0, 1.0, 1.0, 1.0, (100 + 103 - 104) / (100 + 103 + 104)]
    assert found["onchain_flow_ratio"].to_list() == pytest.approx(ratios)
    assert found["onchain_flow_z"].is_nan().all()


def test_a_transfer_counts_only_from_when_its_label_was_known() -> None:
    late = onchain_signals([_transfers([1, 1], label_delay=NS_PER_HOUR // 2)], CONFIG, SESSION)
    half = OPEN_NS + NS_PER_HOUR // 2
    assert late["ts_known"].to_list() == [OPEN_NS, OPEN_NS + 60 * NS_PER_S, half, half + 60 * NS_PER_S]
    assert late["onchain_flow_ratio"].is_nan().to_list() == [True, True, False, False]


def test_the_flow_z_needs_thirty_labelled_transfers_before_the_newest() -> None:
    history = [_transfers([1, -1] * 20), _transfers([1] * 30, start=2 * NS_PER_DAY)]
    found = onchain_signals(history, CONFIG, _session(2))
    assert found["onchain_flow_z"].to_numpy()[-1] > 5
    assert "insufficient" not in onchain_summary(history, found, _session(2))
    few = [_transfers([1, -1] * 10), _transfers([1] * 9, start=2 * NS_PER_DAY)]
    found = onchain_signals(few, CONFIG, _session(2))
    assert found["onchain_flow_z"].is_nan().all()
    assert onchain_summary(few, found, _session(2)) == (
        "I0: 29 labelled transfers in 30 days, insufficient for a z-score (needs 30)"
    )
    old = onchain_signals([history[0], _transfers([1] * 30, start=33 * NS_PER_DAY)], CONFIG, _session(33))
    assert old["onchain_flow_z"].is_nan().all(), "what is older than 30 days is no history"


def test_dormancy_is_known_of_some_transfers_and_activity_after_five_days() -> None:
    rested = _transfers([1, 2, -1]).with_columns(pl.Series("dormant_days", [10.0, None, 100.0]))
    found = onchain_signals([rested], CONFIG, SESSION)["onchain_dormancy"]
    assert found.to_list() == pytest.approx([np.log(11), np.log(11), (100 * np.log(11) + 102 * np.log(101)) / 202])
    days = [_transfers([1, 1], start=day * NS_PER_DAY) for day in range(5)]
    assert onchain_signals(days[:4], CONFIG, _session(3))["onchain_activity"].is_nan().all()
    assert onchain_signals(days, CONFIG, _session(4))["onchain_activity"][-1] == pytest.approx(0.0)


def test_every_source_names_its_kinds() -> None:
    from marketdata.sources import SOURCES

    assert set(SLOW_KINDS) == set(SOURCES)
    assert {kind for kinds in SLOW_KINDS.values() for kind in kinds} == set(SIGNAL_COLUMNS)


@pytest.mark.realdata
def test_deribit_has_the_known_number_of_unusual_contract_days(shared_data: Path) -> None:
    """R11: 3,434 contract-days beyond z = 3 and 100,000 dollars, 1,221 of them under 30 days to expiry."""
    from marketdata.codecs import deribit

    chains = pl.concat([deribit.read_month(path) for path in deribit.find_files([shared_data])])
    chains = chains.with_columns(pl.from_epoch("ts_snapshot", time_unit="ns").dt.date().alias("day"))
    days = [frame for _, frame in sorted(chains.partition_by("day", as_dict=True, include_key=False).items())]
    own, by_bucket = [], []
    for k, today in enumerate(days):
        marked = unusual_activity(today, days[max(0, k - BASELINE_ROWS) : k])
        own.append(marked.filter((pl.col("z") > UNUSUAL_Z) & (pl.col("volume_usd") > UNUSUAL_USD)))
        by_bucket.append(marked.filter("is_unusual"))
    found = pl.concat(own)
    assert (found.height, found.filter(pl.col("days") < SHORT_TENOR_DAYS).height) == (3_434, 1_221)
    # The production score adds contracts too new for a baseline of their own, held against their bucket.
    more = pl.concat(by_bucket)
    assert more.filter(pl.col("z").is_not_null()).height == 3_434
    assert more.filter(pl.col("z").is_null()).height > 0


@pytest.mark.realdata
def test_the_lexicon_orders_labelled_sentences(shared_data: Path) -> None:
    table = pl.read_csv(shared_data / "social" / "financial_phrasebank" / "phrasebank_80pct.csv.gz")
    table = table.filter(pl.col("min_agreement_pct") == 100)
    scores = LexiconSentiment().score(table["sentence"].to_list())
    mean = table.with_columns(pl.Series("s", scores)).group_by("label").agg(pl.col("s").mean())
    by_label = dict(mean.iter_rows())
    assert by_label["negative"] < by_label["neutral"] - 0.2 < by_label["positive"] - 0.4


def test_a_delta_made_from_a_stale_price_far_from_the_money_is_left_out_of_the_smile() -> None:
    strike = np.array([80.0, 90.0, 100.0, 110.0, 120.0, 200.0])
    iv = np.array([0.80, 0.75, 0.70, 0.68, 0.66, 4.5])
    call = np.array([0.90, 0.75, 0.52, 0.30, 0.15, 0.5])
    both = (np.tile(strike, 2), np.tile(iv, 2), np.concatenate([call, call - 1.0]), np.arange(12) < 6)
    clean = np.tile(np.arange(6) < 5, 2)
    with_stale = expiry_smile(30.0, *both)
    assert with_stale == expiry_smile(30.0, *(part[clean] for part in both))
    assert 0.66 < with_stale.atm < 0.71
