"""The simulated market beside recorded ones: the table is whole, and recorded markets look as they are known to."""

from pathlib import Path

import numpy as np
import pytest

from backtests.stylised_facts import (
    NULL,
    SIMULATED,
    Facts,
    all_facts,
    as_markdown,
    facts_table,
    market_facts,
    simulated_tapes,
)
from backtests.stylised_pictures import draw_facts
from marketdata.presets import preset
from marketdata.stylised_facts import SIGNATURE_S

SETTINGS = preset("simulated", None, sessions=3)


@pytest.fixture(scope="module")
def simulated() -> Facts:
    one = SETTINGS.model_copy(update={"instruments": SETTINGS.instruments[:1]})
    return market_facts(simulated_tapes(one, 2))


def test_every_fact_of_a_simulated_session_is_known(simulated: Facts) -> None:
    table = facts_table({SIMULATED: simulated})
    assert "–" not in table[SIMULATED].to_list()
    assert simulated.sessions == 2.0
    assert 125_000 < simulated.events < 135_000
    assert as_markdown(table).count("\n") == table.height + 1


def test_the_simulated_market_keeps_its_guarantees(simulated: Facts) -> None:
    assert 1.5 < simulated.spread_ticks < 3.0
    assert simulated.shape[0] > 1.2
    assert 0.4 < simulated.sign_correlation[0] < 0.8
    flat = simulated.signature[SIGNATURE_S.index(10) : SIGNATURE_S.index(300) + 1]
    assert np.abs(flat / flat.mean() - 1.0).max() < 0.25, "two sessions of one instrument are noisy"
    assert simulated.kurtosis_10s > 3.5


def test_the_pictures_are_drawn_whole_and_nothing_else_is_left(simulated: Facts, tmp_path: Path) -> None:
    from PIL import Image

    written = draw_facts({SIMULATED: simulated}, tmp_path / "images")
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == sorted(p.name for p in written)
    assert len(written) == 2
    for path in written:
        with Image.open(path) as image:
            assert min(image.size) > 300


def test_a_market_without_sessions_is_an_error() -> None:
    with pytest.raises(ValueError, match="no session"):
        market_facts(iter([]))


@pytest.mark.realdata
@pytest.mark.timeout(600)
def test_recorded_markets_show_what_such_markets_show(shared_data: Path) -> None:
    one = SETTINGS.model_copy(update={"instruments": SETTINGS.instruments[:1]})
    facts = all_facts(one, shared_data, sessions=1)
    assert list(facts) == [SIMULATED, NULL, "AMZN", "AAPL", "600519", "EURUSD"]
    for name in ("AMZN", "AAPL"):
        assert facts[name].sign_correlation[0] > 0.4
        assert 0.5 < facts[name].sign_exponent < 1.5
        assert facts[name].kurtosis_60s > 4.0
        assert facts[name].volatility_correlation[0] > 0.05
    assert facts["AMZN"].aggressors == 8_183, (
        "aggressor groups of 2012-06-21, from 8,974 visible and 2,445 hidden executions"
    )
    euro = facts["EURUSD"]
    assert euro.sessions == 5
    assert np.isnan([euro.aggressors, euro.sign_exponent, euro.depth[0], euro.order_to_trade]).all(), (
        "quotes cannot say"
    )
    assert 10 < euro.spread_ticks < 15, "tenths of a pip"
