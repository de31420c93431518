"""Option chains, posts and transfers of the simulated market."""

import numpy as np
import polars as pl
import pytest

from marketdata.clock import Session
from marketdata.simulator.session import SimulatedSession
from marketdata.simulator.slow import EXCHANGES, NEGATIVE, OPENERS, POSITIVE, TAILS
from tests.simulator.worlds import make_settings, simulate_many

OPTIONS = (
    "ts_known ts_snapshot symbol contract is_call strike expiry_ns bid ask mark iv delta "
    "open_interest volume volume_usd underlying"
)
POSTS = "ts_known ts_posted symbol post_id text votes"
TRANSFERS = "ts_known ts_block symbol tx_id amount from_label to_label label_known_since dormant_days"


@pytest.fixture(scope="module")
def made() -> list[tuple[Session, SimulatedSession]]:
    return simulate_many(make_settings(2, events_per_session=2_000), 12)


@pytest.fixture(scope="module")
def session(made: list[tuple[Session, SimulatedSession]]) -> Session:
    return made[0][0]


@pytest.fixture(scope="module")
def world(made: list[tuple[Session, SimulatedSession]]) -> SimulatedSession:
    return made[0][1]


def test_the_frames_have_their_columns_and_counts(world: SimulatedSession) -> None:
    assert world.options.columns == OPTIONS.split()
    assert world.posts.columns == POSTS.split()
    assert world.transfers.columns == TRANSFERS.split()
    for frame, rows in ((world.options, 20 * 40), (world.posts, 200), (world.transfers, 100)):
        assert frame.group_by("symbol").len()["len"].to_list() == [rows, rows]
        assert frame["ts_known"].is_sorted()


def test_nothing_is_known_before_it_happened(world: SimulatedSession, session: Session) -> None:
    for frame, happened in ((world.options, "ts_snapshot"), (world.posts, "ts_posted"), (world.transfers, "ts_block")):
        assert (frame["ts_known"] > frame[happened]).all()
        assert frame[happened].is_between(session.open_ns, session.close_ns, closed="left").all()
    late = world.transfers.filter(pl.col("label_known_since") > pl.col("ts_known"))
    assert 0 < late.height < 0.25 * world.transfers.height


def test_option_prices_hold_together(world: SimulatedSession) -> None:
    chains = world.options
    assert (chains["bid"] <= chains["ask"]).all()
    assert (chains["bid"] <= chains["mark"] + 0.006).all()
    assert chains["delta"].is_between(-1, 1).all()
    assert chains["iv"].is_between(0.05, 2.0).all()
    keys = ["ts_snapshot", "symbol", "strike", "expiry_ns"]
    calls = chains.filter("is_call").select(*keys, call="mark", call_iv="iv", underlying="underlying")
    puts = chains.filter(~pl.col("is_call")).select(*keys, put="mark", put_iv="iv")
    both = calls.join(puts, on=keys).filter((pl.col("call") > 0.02) & (pl.col("put") > 0.02))
    parity = both["call"] - both["put"] - (both["underlying"] - both["strike"])
    assert parity.abs().max() < 0.05 * both["underlying"].mean(), "up to the noise of two volatilities"
    assert abs(parity.mean()) < 0.05


def test_contracts_and_open_interest_last_over_the_days(made: list[tuple[Session, SimulatedSession]]) -> None:
    names = [set(world.options["contract"]) for _, world in made[:5]]
    assert len(set.intersection(*names)) > 0.5 * len(names[0])
    first = made[0][1].options
    assert first.group_by("contract").agg(pl.col("open_interest").n_unique())["open_interest"].max() == 1


def test_posts_carry_their_cashtag_and_votes_have_a_tail(world: SimulatedSession) -> None:
    posts = world.posts
    assert all(f"${symbol}" in text for symbol, text in zip(posts["symbol"], posts["text"], strict=True))
    assert posts["votes"].min() >= 0
    assert posts["votes"].max() > 10 * max(posts["votes"].median(), 1)


def test_transfers_name_known_exchanges_or_nobody(world: SimulatedSession) -> None:
    labels = set(world.transfers["from_label"]) | set(world.transfers["to_label"])
    assert labels == {*EXCHANGES, ""}
    assert (world.transfers["amount"] > 0).all()


def test_each_family_leans_with_the_mood(made: list[tuple[Session, SimulatedSession]]) -> None:
    moods, tones, flows, calls = [], [], [], []
    for _, world in made:
        moods.append(world.truth.mood["slow_mood"].mean())
        tones.append(np.mean([_tone(*row) for row in world.posts.select("symbol", "text").iter_rows()]))
        one_way = world.transfers.filter(pl.col("from_label") != pl.col("to_label"))
        flows.append(float(((one_way["from_label"] != "").cast(int) - (one_way["to_label"] != "").cast(int)).mean()))
        volume = world.options.group_by("is_call").agg(pl.col("volume").sum()).sort("is_call")["volume"]
        calls.append(float(volume[1] / volume.sum()))
    for family in (tones, flows, calls):
        assert np.corrcoef(moods, family)[0, 1] > 0.7


def _tone(symbol: str, text: str) -> int:
    good, bad = ([phrase.replace("${s}", f"${symbol}") for phrase in phrases] for phrases in (POSITIVE, NEGATIVE))
    return any(phrase in text for phrase in good) - any(phrase in text for phrase in bad)


def test_what_stands_around_a_phrase_has_no_tone_and_few_posts_repeat(world: SimulatedSession) -> None:
    from features.signals.sentiment import LexiconSentiment
    from features.signals.social_repeats import repeated
    from marketdata.clock import NS_PER_DAY

    assert not LexiconSentiment().score([*OPENERS, *TAILS]).any()
    one = world.posts.filter(pl.col("symbol") == world.posts["symbol"][0])
    share = repeated(one["ts_known"].to_numpy(), one["text"].to_list(), NS_PER_DAY).mean()
    assert 0.02 < share < 0.35, "reposts, and few else by chance"


def test_near_expiries_feel_a_stressed_regime_most(made: list[tuple[Session, SimulatedSession]]) -> None:
    near, far = [], []
    for _, world in made:
        at_money = world.options.filter((pl.col("strike") / pl.col("underlying")).log().abs() < 0.02)
        by_expiry = at_money.group_by("expiry_ns").agg(pl.col("iv").mean()).sort("expiry_ns")["iv"].to_list()
        assert len(by_expiry) == 3
        near.append(by_expiry[0])
        far.append(by_expiry[-1])
    assert np.std(near) > np.std(far)
