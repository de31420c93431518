import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest

from marketdata.settings import GateSettings
from models.gate import CASH, GATE_VERSION, Evidence, assess, gate_version
from tests.evidence.worlds import DAYS, GATE, HORIZON_NS, good, make_evidence


class TestAPromotion:
    def test_takes_the_best_paying_candidate_that_beats_everything(self) -> None:
        found = assess(good(), GATE, HORIZON_NS)
        assert (found.verdict, found.reason, found.winner) == ("promote", "promoted", "c0")
        assert found.table[0].name == "c0"
        assert found.table[0].failed == ()
        assert {(t.benchmark, t.measure) for t in found.tests} == {
            (CASH, "pnl"), ("b0", "pnl"), ("b1", "pnl"), ("b0", "loss"), ("b1", "loss"),
        }  # fmt: skip
        assert all(t.p_value < 0.01 for t in found.tests)

    def test_passes_over_a_richer_candidate_that_fails_a_condition(self) -> None:
        found = assess(replace(good(), pessimistic_pnl={"c0": -1.0, "c1": 10.0, "c2": 5.0}), GATE, HORIZON_NS)
        assert found.winner == "c1"
        assert found.table[0].failed == ("pessimistic backtest -1.00",)

    def test_is_the_same_again(self) -> None:
        first, second = (assess(good(), GATE, HORIZON_NS).to_dict() for _ in range(2))
        assert first == second
        assert json.loads(json.dumps(first, allow_nan=False)) == first


class TestARefusal:
    def test_of_a_world_where_nothing_pays_says_so_and_names_who_trades_in_the_shadow(self) -> None:
        found = assess(make_evidence(skill=0.02), GATE, HORIZON_NS)
        assert (found.verdict, found.reason, found.winner) == ("refuse", "does_not_pay", None)
        assert found.best_candidate == found.table[0].name
        assert found.table[0].net_pnl == max(row.net_pnl for row in found.table if row.is_candidate)

    def test_names_the_baseline_that_earns_as_much(self) -> None:
        evidence = good()
        rich = {**evidence.pnl, "b1": evidence.pnl["c0"] + np.random.default_rng(1).normal(size=1950)}
        found = assess(replace(evidence, pnl=rich), GATE, HORIZON_NS)
        assert found.reason == "not_better_than_baseline:b1"
        assert "net profit" in found.detail

    def test_names_the_baseline_that_forecasts_as_well(self) -> None:
        evidence = good()
        sharp = {**evidence.loss, "b0": evidence.loss["c0"] + 0.01 * np.random.default_rng(1).normal(size=1950)}
        found = assess(replace(evidence, loss=sharp), GATE, HORIZON_NS)
        assert found.reason == "not_better_than_baseline:b0"
        assert "log loss" in found.detail

    def test_for_want_of_days_still_shows_the_table(self) -> None:
        evidence = good()
        found = assess(replace(evidence, days=DAYS[:1], day=np.zeros(1950, dtype=np.int32)), GATE, HORIZON_NS)
        assert found.reason == "insufficient_evidence"
        assert found.detail == "1 test days, 5 needed"
        assert found.table[0].p_value is not None
        assert found.table[0].p_value < 0.01

    def test_for_want_of_round_trips(self) -> None:
        few = dict.fromkeys(("c0", "c1", "c2", "b0", "b1"), 199)
        found = assess(replace(good(), round_trips=few), GATE, HORIZON_NS)
        assert found.reason == "insufficient_evidence"
        assert "199 round trips, 200 needed" in found.detail

    def test_for_want_of_positive_days(self) -> None:
        evidence = good()
        # All of the profit falls on two days of five; the other three lose a little.
        swing = np.where(np.isin(evidence.day, (1, 3)), 2.0, -0.6)
        pnl = {k: v + swing if k.startswith("c") else v for k, v in evidence.pnl.items()}
        found = assess(replace(evidence, pnl=pnl), GATE, HORIZON_NS)
        assert found.winner is None
        assert any("of days positive" in item for item in found.table[0].failed)

    def test_without_a_pessimistic_backtest(self) -> None:
        found = assess(replace(good(), pessimistic_pnl={}), GATE, HORIZON_NS)
        assert found.reason == "does_not_pay"
        assert "no pessimistic backtest" in found.detail

    def test_of_models_that_never_trade_is_that_nothing_pays(self) -> None:
        evidence = make_evidence()
        still = {name: np.zeros(1950) for name in evidence.names}
        none = dict.fromkeys(evidence.names, 0)
        found = assess(replace(evidence, pnl=still, round_trips=none), GATE, HORIZON_NS)
        assert found.reason == "does_not_pay"
        assert math.isnan(found.table[0].sharpe)
        assert found.to_dict()["table"][0]["sharpe"] is None

    def test_before_there_is_any_evidence(self) -> None:
        none = {name: np.zeros(0) for name in ("c0", "b0")}
        empty = Evidence(("c0",), ("b0",), none, none, np.zeros(0, dtype=np.int32), (), {})
        found = assess(empty, GATE, HORIZON_NS)
        assert found.reason == "insufficient_evidence"
        assert found.tests == ()
        json.dumps(found.to_dict(), allow_nan=False)


class TestTheEvidence:
    def test_minutes_without_rows_change_no_loss_comparison(self) -> None:
        evidence = good()
        holes = np.arange(1950) % 7 == 0
        # What stands in such a minute for one model must not count when another has no row there.
        loss = {k: np.where(holes, np.nan if k == "b0" else 9.0, v) for k, v in evidence.loss.items()}
        found = assess(replace(evidence, loss=loss), GATE, HORIZON_NS)
        assert found.winner == "c0"

    def test_with_nan_profit_is_refused(self) -> None:
        evidence = good()
        with pytest.raises(ValueError, match="pnl of 'c1' holds NaN"):
            assess(replace(evidence, pnl={**evidence.pnl, "c1": np.full(1950, np.nan)}), GATE, HORIZON_NS)

    def test_with_a_missing_series_is_refused(self) -> None:
        evidence = good()
        with pytest.raises(ValueError, match="loss of 'b1' is missing"):
            assess(replace(evidence, loss={k: v for k, v in evidence.loss.items() if k != "b1"}), GATE, HORIZON_NS)

    def test_hash_changes_with_every_part(self) -> None:
        evidence = good()
        changed = [
            replace(evidence, trials=41),
            replace(evidence, round_trips={**evidence.round_trips, "c0": 501}),
            replace(evidence, pnl={**evidence.pnl, "c0": evidence.pnl["c0"] + 1e-9}),
            replace(evidence, pessimistic_pnl={}),
        ]
        hashes = {evidence.content_hash(), *(e.content_hash() for e in changed)}
        assert len(hashes) == 5
        assert good().content_hash() == evidence.content_hash()

    def test_trials_lower_the_deflated_ratio_and_nothing_else(self) -> None:
        few, many = (assess(replace(good(), trials=n), GATE, HORIZON_NS) for n in (2, 2_000))
        assert few.table[0].dsr_raw > many.table[0].dsr_raw  # type: ignore[operator]  # candidates have one
        assert few.winner == many.winner
        assert many.trials_effective < many.trials_raw
        assert few.pbo.note.startswith("not computed: 3 configurations")

    def test_sharpe_intervals_are_at_least_a_holding_long(self) -> None:
        held = replace(good(), holding_ns={"c0": 4.5 * 60e9})
        rows = {row.name: row for row in assess(held, GATE, HORIZON_NS).table}
        assert (rows["c0"].period_ns, rows["c0"].intervals) == (5 * 60_000_000_000, 390)
        assert (rows["c1"].period_ns, rows["c1"].intervals) == (60_000_000_000, 1950)


class TestTheGate:
    def test_version_follows_its_parameters(self) -> None:
        assert gate_version(GateSettings()) == GATE_VERSION
        assert gate_version(GateSettings(p_value=0.05)) != GATE_VERSION

    def test_promotes_noise_no_more_often_than_it_says(self) -> None:
        # No candidate earns more than cash, so each world is promoted with a chance of 1 % at most.
        promoted = sum(
            assess(make_evidence(skill=0.02, seed=s, candidates=8), GATE, HORIZON_NS, screen_only=True).promoted
            for s in range(40)
        )
        assert promoted <= 2

    def test_finds_an_edge_that_pays(self) -> None:
        found = [assess(make_evidence(edge=0.3, skill=0.02, seed=s), GATE, HORIZON_NS) for s in range(12)]
        assert sum(v.promoted for v in found) >= 11

    def test_judges_two_hundred_reruns_in_seconds(self) -> None:
        evidence = make_evidence(skill=0.02, candidates=8, baselines=5)
        assess(evidence, GATE, HORIZON_NS)
        started = time.process_time()
        for _ in range(10):
            assess(evidence, GATE, HORIZON_NS, screen_only=True)
        # 40 ms each makes 8 s of two hundred; the bound leaves room for a slow machine.
        assert (time.process_time() - started) / 10 < 0.12


class TestConfigurations:
    """What the night searched over beside its candidates."""

    def searched(self, count: int) -> Evidence:
        evidence = make_evidence(edge=0.1)
        rng = np.random.default_rng(8)
        further = {f"c0 at margin {k}": evidence.pnl["c0"] + rng.normal(size=1_950) for k in range(count)}
        return replace(evidence, configurations=further)

    def test_they_make_the_probability_of_overfitting_computable(self) -> None:
        few, many = assess(self.searched(6), GATE, HORIZON_NS), assess(self.searched(7), GATE, HORIZON_NS)
        assert few.pbo.note == "not computed: 9 configurations, at least 10 needed"
        assert many.pbo.probability is not None
        assert many.pbo.note.startswith("10 configurations, 16 blocks")

    def test_none_of_them_is_judged_or_promoted(self) -> None:
        plain_night, searched = make_evidence(edge=0.1), self.searched(8)
        ours, theirs = assess(searched, GATE, HORIZON_NS), assess(plain_night, GATE, HORIZON_NS)
        assert [row.name for row in ours.table] == [row.name for row in theirs.table]
        assert ours.tests == theirs.tests
        assert ours.trials_effective != theirs.trials_effective
        assert searched.content_hash() != plain_night.content_hash()

    def test_a_wider_search_deflates_more(self) -> None:
        spread = self.searched(8)
        drift = dict(spread.configurations)
        for k, name in enumerate(drift):
            drift[name] = drift[name] + 0.2 * (k - 4)
        narrow = assess(spread, GATE, HORIZON_NS).table[0].dsr_raw
        wide = assess(replace(spread, configurations=drift), GATE, HORIZON_NS).table[0].dsr_raw
        assert wide < narrow

    def test_names_and_shapes_are_checked(self) -> None:
        evidence = make_evidence()
        for name, series in (("c0", np.zeros(1_950)), ("x", np.zeros(3)), ("x", np.full(1_950, np.nan))):
            with pytest.raises(ValueError, match="configuration"):
                replace(evidence, configurations={name: series}).validate()
