"""Slow signals: baselines exclude the day itself, labels and posts count from when they were known."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from features.signals.columns import SIGNAL_COLUMNS, SLOW_KINDS
from features.signals.onchain import onchain_signals
from features.signals.options import contract_z, daily_rows, options_signals, unusual_activity
from features.signals.sentiment import LexiconSentiment
from features.signals.social import mentions, social_signals
from marketdata.clock import NS_PER_DAY, NS_PER_HOUR, NS_PER_S
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
    # Strike 110: call delta 0.25; strike 90: put delta -0.25.
    assert found["options_skew"][0] == pytest.approx(0.61 - 0.51)
    assert found["options_atm_iv"][0] == pytest.approx(0.55)
    assert -1.0 <= found["options_volume_imbalance"][0] <= 1.0


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


def test_sentiment_needs_ten_posts() -> None:
    found = social_signals([_posts(["profit growth"] * 12)], CONFIG, SESSION)
    assert found["social_sentiment"].to_list()[9:] == [1.0, 1.0, 1.0]
    assert np.isnan(found["social_sentiment"].to_numpy()[:9]).all()


def test_votes_weigh_but_never_below_one_post() -> None:
    texts = ["profit"] * 5 + ["loss"] * 6
    plain = social_signals([_posts(texts)], CONFIG, SESSION)["social_sentiment"][-1]
    assert plain == pytest.approx(-1 / 11)
    liked = social_signals([_posts(texts, votes=[100] * 5 + [0] * 6)], CONFIG, SESSION)["social_sentiment"][-1]
    assert liked > 0.5
    hated = social_signals([_posts(texts, votes=[-100] * 5 + [0] * 6)], CONFIG, SESSION)["social_sentiment"][-1]
    assert hated == plain


def test_a_post_without_a_symbol_counts_for_each_instrument_it_names() -> None:
    texts = ["$i0 profit"] * 10 + ["I0 and I1 at a loss"] * 10
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
    before = _posts(["loss"] * 30)
    today = _posts(["profit"] * 3, start=4 * NS_PER_HOUR)
    found = social_signals([before, today], CONFIG, SESSION)
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
    assert found.height == 3
    assert found["onchain_flow_ratio"].to_list() == pytest.approx([1.0, 1.0, (100 + 103 - 104) / (100 + 103 + 104)])
    assert found["onchain_flow_z"].is_nan().all()


def test_a_transfer_counts_only_from_when_its_label_was_known() -> None:
    late = onchain_signals([_transfers([1, 1], label_delay=NS_PER_HOUR)], CONFIG, SESSION)
    assert late["ts_known"].to_list() == [OPEN_NS + NS_PER_HOUR, OPEN_NS + NS_PER_HOUR + 60 * NS_PER_S]


def test_the_flow_z_needs_thirty_labelled_transfers_before_the_newest() -> None:
    history = [_transfers([1, -1] * 20), _transfers([1] * 30, start=2 * NS_PER_DAY)]
    found = onchain_signals(history, CONFIG, SESSION)
    assert found["onchain_flow_z"].to_numpy()[-1] > 5
    few = onchain_signals([_transfers([1, -1] * 10), _transfers([1] * 20, start=2 * NS_PER_DAY)], CONFIG, SESSION)
    assert few["onchain_flow_z"].is_nan().all()


def test_later_rows_change_no_earlier_signal() -> None:
    chains, posts, moves = _history(14), _posts(["profit", "loss", "loss"] * 10), _transfers([1, -1, 1] * 20)
    for build, history in ((social_signals, [posts]), (onchain_signals, [moves])):
        whole = build(history, CONFIG, SESSION)
        part = build([history[0].head(25)], CONFIG, SESSION)
        assert part.equals(whole.head(part.height))
    later = chains[13].with_columns(pl.col("ts_known") + NS_PER_HOUR, pl.col("volume") * 9)
    whole = options_signals([*chains[:13], pl.concat([chains[13], later])], CONFIG, SESSION)
    assert whole.height == 2
    assert options_signals(chains, CONFIG, SESSION).equals(whole.head(1))


def test_every_source_names_its_kinds() -> None:
    from marketdata.sources import SOURCES

    assert set(SLOW_KINDS) == set(SOURCES)
    assert {kind for kinds in SLOW_KINDS.values() for kind in kinds} == set(SIGNAL_COLUMNS)


@pytest.mark.realdata
def test_deribit_has_the_known_number_of_unusual_contract_days(shared_data: Path) -> None:
    """R11: 3,434 contract-days beyond z = 3 and 100,000 dollars, 1,221 of them under 30 days to expiry."""
    files = sorted((shared_data / "options" / "deribit_snapshots" / "daily").glob("*.csv.gz"))
    table = pl.concat([pl.read_csv(path, infer_schema_length=20_000) for path in files], how="vertical_relaxed")
    ns = {
        name: pl.col(name).str.to_datetime(time_unit="ns", time_zone="UTC").dt.timestamp("ns")
        for name in ("timestamp", "expiry_datetime")
    }
    rows = table.select(
        ns["timestamp"].alias("ts"),
        pl.col("timestamp").str.slice(0, 10).alias("day"),
        pl.col("instrument_name").alias("contract"),
        "volume",
        "volume_usd",
        ns["expiry_datetime"].alias("expiry_ns"),
    )
    days = [frame for _, frame in sorted(rows.partition_by("day", as_dict=True).items())]
    found, short = 0, 0
    for k in range(1, len(days)):
        marked = contract_z(days[k], pl.concat(days[max(0, k - 30) : k]))
        unusual = marked.filter((pl.col("z") > 3) & (pl.col("volume_usd") > 100_000))
        found += unusual.height
        short += unusual.filter(pl.col("expiry_ns") - pl.col("ts") < 30 * NS_PER_DAY).height
    assert (found, short) == (3_434, 1_221)


@pytest.mark.realdata
def test_the_lexicon_orders_labelled_sentences(shared_data: Path) -> None:
    table = pl.read_csv(shared_data / "social" / "financial_phrasebank" / "phrasebank_80pct.csv.gz")
    table = table.filter(pl.col("min_agreement_pct") == 100)
    scores = LexiconSentiment().score(table["sentence"].to_list())
    mean = table.with_columns(pl.Series("s", scores)).group_by("label").agg(pl.col("s").mean())
    by_label = dict(mean.iter_rows())
    assert by_label["negative"] < by_label["neutral"] - 0.2 < by_label["positive"] - 0.4
