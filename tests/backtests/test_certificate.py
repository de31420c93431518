"""The null market's certificate: by the letter, nobody of the stated grid earns anything at the 99 % bound."""

from pathlib import Path

import numpy as np
import pytest

from backtests import certify
from backtests.certificate import (
    NEVER,
    Certificate,
    EdgeRow,
    edge_row,
    load_certificate,
    save_certificate,
    simulator_sha256,
    tape_sha256,
)
from backtests.certify import (
    MAKER_PPM,
    MAKERS,
    TAKER_PPM,
    TAKER_THRESHOLDS,
    FeeChoice,
    _maker_row,
    at_fees,
    null_settings,
    run_session,
    run_sessions,
    taker_name,
)
from backtests.session_edges import SessionEdges
from marketdata.presets import preset

LOSES = EdgeRow("a", 10, 5, -5.0, -0.5, -0.2, 0.1, -0.13)
IDLE = EdgeRow("b", 0, 0, 0.0, 0.0, 0.0, 0.0, 0.0)


def certificate(*rows: EdgeRow, sessions: int = 80) -> Certificate:
    return Certificate("n1", 1, sessions, ("X",), 9, (30,), (0,), {"feed_ns": 1}, "s", "h", "t", rows)


def test_a_certificate_is_valid_only_when_nobody_can_be_said_to_earn(tmp_path: Path) -> None:
    lucky = EdgeRow("c", 2, 1, 5.0, 2.5, 1.0, NEVER, NEVER)
    assert certificate(LOSES, IDLE).valid
    assert not certificate(LOSES, IDLE, sessions=79).valid, "a shorter run certifies nothing"
    assert certificate(LOSES, IDLE).best.name == "a"
    assert certificate(LOSES, IDLE).idle == ("b",)
    for upper in (0.73, 1e-9):
        assert not certificate(LOSES, EdgeRow("d", 10, 5, 5.0, 0.5, 0.2, 0.1, upper)).valid, "however little"
    assert not certificate(lucky).valid, "fills in one block have no bound"
    made = certificate(LOSES, IDLE, lucky)
    assert load_certificate(save_certificate(made, tmp_path / "n1.json")) == made


def test_the_stored_certificate_is_of_this_market_by_the_letter() -> None:
    stored, settings = load_certificate(), preset("simulated", None)
    again = "run `python -m backtests.certify measure` and commit what it writes"
    same = stored.simulator_sha256 == simulator_sha256() or stored.tape_sha256 == tape_sha256(settings)
    assert same, f"the simulated market has changed: {again}"
    assert stored.taker_ppm == tuple(i.fees.taker_ppm for i in settings.instruments), f"fees have changed: {again}"
    assert stored.maker_ppm == tuple(i.fees.maker_ppm for i in settings.instruments), f"fees have changed: {again}"
    assert stored.latency == settings.latency.model_dump(), f"latencies have changed: {again}"
    assert {row.name for row in stored.rows} == {*map(taker_name, TAKER_THRESHOLDS), *(rule.name for rule in MAKERS)}
    assert not [row.name for row in stored.rows if row.pays], "nobody is shown to earn anything"
    assert stored.valid == (stored.sessions >= 80), "ten times the demonstration, or it is no certificate"
    working = {rule.name for rule in MAKERS} | {taker_name(min(TAKER_THRESHOLDS))}
    assert all(row.fills > 500 * stored.sessions for row in stored.rows if row.name in working), (
        "only the rare are idle"
    )


def test_the_bound_covers_the_true_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    above = 0
    for _ in range(400):
        lots = rng.poisson(0.4, 200).astype(float)
        money = np.array([rng.normal(-0.1, 1.0, int(k)).sum() for k in lots])
        above += edge_row("x", np.stack([money, lots], axis=1), profit=0.0, spread=2.0).upper_99 >= -0.1
    assert 0.97 < above / 400 <= 1.0
    row = edge_row("x", np.array([[3.0, 2.0], [0.0, 0.0]]), profit=3.0, spread=2.0)
    assert (row.net_per_lot, row.net_per_lot_spreads, row.upper_99) == (1.5, 0.75, NEVER)


def test_the_smallest_fees_at_which_nobody_earns_are_chosen() -> None:
    pays = EdgeRow("p", 10, 5, 5.0, 0.5, 0.2, 0.1, 0.73)
    choice = FeeChoice({30: (LOSES, pays), 50: (LOSES, IDLE), 65: (pays,)}, {0: (pays,), 10: (pays,)})
    assert choice.taker_ppm == 50
    assert choice.maker_ppm is None
    fees = preset("simulated", None).instruments[0].fees
    assert fees.taker_ppm in TAKER_PPM
    assert fees.maker_ppm in MAKER_PPM


def test_every_member_trades_a_session_and_makers_pay_their_fee_afterwards() -> None:
    base = preset("simulated", None)
    simulator = base.simulator.model_copy(update={"events_per_session": 20_000})
    small = base.model_copy(update={"instruments": base.instruments[:1], "simulator": simulator})
    settings = at_fees(null_settings(small, 5), 30, 0)
    session = settings.market_calendar().first_sessions(settings.start_date, 1)[0]
    found = run_session(settings, session, 0, (30, 500))
    lots = {place: blocks[:, 1].sum() for place, blocks in found.takers.items()}
    assert lots[30, taker_name(0.25)] > 20
    assert lots[500, taker_name(0.25)] < lots[30, taker_name(0.25)]
    assert lots[500, taker_name(1.0)] == 0
    assert all(blocks[:, 1].sum() > 0 for name, blocks in found.makers.items() if "join 0 " in name)
    free, charged = (_maker_row([found], ppm, MAKERS[0], 2.0) for ppm in (0, 100))
    assert free.fills == charged.fills
    assert free.net_per_lot - charged.net_per_lot == pytest.approx(1.0, rel=0.1), "1 bp of some 10,000 dollars a lot"


def test_a_measurement_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = null_settings(preset("simulated", None), 5)
    asked: list[int] = []

    def made(
        settings: object, session: object, index: int, taker_ppm: tuple[int, ...], *, makers_too: bool
    ) -> SessionEdges:
        asked.append(index)
        takers = {(30, "a"): np.array([[0.1 + index, 1.0]])}
        makers = {"m": np.array([[1 / 3, 2.0, 9e4]])} if makers_too else {}
        return SessionEdges(7, 0.02, takers, makers, {(30, "a"): -0.1, (0, "m"): 1e-17})

    monkeypatch.setattr(certify, "run_session", made)
    stopped = run_sessions(settings, 3, (30,), processes=1, keep=tmp_path)
    first = [next(stopped), next(stopped)]
    again = list(run_sessions(settings, 3, (30,), processes=1, keep=tmp_path))
    assert asked == [0, 1, 2]
    for one, other in zip(first, again, strict=False):
        assert np.array_equal(one.takers[30, "a"], other.takers[30, "a"])
        assert one.makers["m"].tolist() == other.makers["m"].tolist() == [[1 / 3, 2.0, 9e4]]
        assert one.profits == other.profits == {(30, "a"): -0.1, (0, "m"): 1e-17}
    other = settings.model_copy(update={"strategy": settings.strategy.model_copy(update={"order_lots": 2})})
    list(run_sessions(other, 1, (30,), processes=1, keep=tmp_path))
    assert asked == [0, 1, 2, 0], "other settings are another measurement"
