"""The executor trades a session as the night would: same rows, forecasts and fills, wherever the stream is cut."""

import json

import numpy as np
import pytest

from marketdata.events import EventArray, empty_events
from models.bundle import BundleError
from models.training import forecast_rows
from serving.executor import PaperExecutor
from serving.parity import parity_report, rows_equal
from serving.predictor import FOREVER, LivePredictor, join_rows
from serving.session import SessionResult, run_session
from serving.session_files import read_facts, read_forecasts, read_rows
from tests.serving.conftest import World
from trading.config import engine_config
from trading.engine import Engine
from trading.journal import CONTROL, FILL, FORECAST, load_journal


def steps_of(executor: PaperExecutor, events: EventArray, cuts: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    steps = [executor.step(part) for part in np.split(events, cuts)]
    steps.append(executor.finish())
    return (
        np.concatenate([step.journal for step in steps]),
        np.concatenate([step.forecasts for step in steps]),
        np.concatenate([step.x for step in steps]),
    )


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    if left.shape != right.shape:
        return False
    if left.dtype.names:
        return all(left[name].tobytes() == right[name].tobytes() for name in left.dtype.names)
    return left.tobytes() == right.tobytes()


def test_the_session_trades_at_all(traded: SessionResult) -> None:
    assert (traded.journal["kind"] == FILL).sum() >= 4
    assert traded.late_rows == 0
    assert traded.summary["round_trips"] >= 2
    assert traded.summary["instruments"][0]["symbol"] == "ALFA"


def test_live_feature_rows_equal_the_stored_ones_bit_for_bit(world: World, traded: SessionResult) -> None:
    for k, item in enumerate(world.settings.instruments):
        check = rows_equal(item.symbol, traded.feature_rows(k), world.rows[item.symbol])
        assert check.passed, check.detail
        assert check.compared > 300


def test_live_x_equals_the_dataset_bit_for_bit(world: World, traded: SessionResult) -> None:
    assert same_bits(traded.x, world.dataset.x[world.dataset.session == len(world.dataset.sessions) - 1])


def test_live_forecasts_equal_the_offline_ones_bit_for_bit(world: World, traded: SessionResult) -> None:
    offline = forecast_rows(world.bundle, world.dataset, world.test)
    for name in offline.dtype.names or ():
        assert same_bits(np.ascontiguousarray(offline[name]), np.ascontiguousarray(traded.forecasts[name])), name


@pytest.mark.parametrize("seed", [0, 1])
def test_where_a_batch_ends_changes_nothing(world: World, traded: SessionResult, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = [40, 400][seed]
    cuts = np.sort(rng.integers(0, len(world.events), size)).tolist()
    executor = PaperExecutor(world.settings, world.session, world.bundle, "shadow", world.signals)
    journal, forecasts, x = steps_of(executor, world.events, cuts)
    assert same_bits(journal, traded.journal)
    assert same_bits(forecasts, traded.forecasts)
    assert same_bits(x, traded.x)


def test_one_event_at_a_time_gives_the_same_start(world: World) -> None:
    head = world.events[:3_000]
    whole = LivePredictor(world.settings, world.session, world.bundle)
    _, at_once = whole.step(whole.init(world.signals), head, int(head["ts_recv"][-1]))
    state = whole.init(world.signals)
    single = []
    for k in range(len(head)):
        state, step = whole.step(state, head[k : k + 1], int(head["ts_recv"][k]))
        single.append(step)
    assert same_bits(np.concatenate([s.forecasts for s in single]), at_once.forecasts)
    assert same_bits(join_rows([s.rows for s in single]).values, at_once.rows.values)


def test_going_on_from_a_checkpoint_gives_the_same_end(world: World, traded: SessionResult) -> None:
    middle = len(world.events) // 2
    executor = PaperExecutor(world.settings, world.session, world.bundle, "shadow", world.signals)
    first = executor.step(world.events[:middle])
    saved = executor.checkpoint()
    once = [executor.step(world.events[middle:]), executor.finish()]
    executor.restore(saved)
    again = [executor.step(world.events[middle:]), executor.finish()]
    assert same_bits(np.concatenate([s.journal for s in once]), np.concatenate([s.journal for s in again]))
    assert same_bits(np.concatenate([s.journal for s in (first, *again)]), traded.journal)
    other = PaperExecutor(world.settings, world.session, world.bundle, "shadow", world.signals)
    other.restore(saved)
    elsewhere = [other.step(world.events[middle:]), other.finish()]
    assert same_bits(np.concatenate([s.journal for s in elsewhere]), np.concatenate([s.journal for s in again]))


def test_no_later_event_changes_an_earlier_forecast(world: World, traded: SessionResult) -> None:
    cut = len(world.events) // 2
    changed = world.events.copy()
    changed["size_lots"][cut:] += 3
    watermark = int(changed["ts_recv"][cut])
    predictor = LivePredictor(world.settings, world.session, world.bundle)
    _, step = predictor.step(predictor.init(world.signals), changed, FOREVER)
    before = traded.forecasts["ts_recv"] < watermark
    assert before.sum() > 100
    assert same_bits(step.forecasts[: before.sum()], traded.forecasts[before])


def test_replaying_the_journal_gives_the_same_fills(world: World, traded: SessionResult) -> None:
    engine = Engine(engine_config(world.settings, world.session))

    def replay(forecasts: np.ndarray) -> np.ndarray:
        return engine.run(engine.init(), world.events, forecasts, None, FOREVER)[1]

    report = parity_report(
        traded.journal,
        replay,
        live_rows={item.symbol: traded.feature_rows(k) for k, item in enumerate(world.settings.instruments)},
        stored_rows=world.rows,
        recomputed=forecast_rows(world.bundle, world.dataset, world.test),
    )
    assert report.passed, [check for check in report.checks if not check.passed]
    assert len(report.checks) == 3 + 4
    assert all(check.compared for check in report.checks)


def test_parity_sees_a_single_changed_bit(world: World, traded: SessionResult) -> None:
    row = traded.feature_rows(0)
    values = row.values.copy()
    values[5, 3] = np.nextafter(values[5, 3], np.inf) if np.isfinite(values[5, 3]) else 0.0
    check = rows_equal("ALFA", type(row)(row.keys, values, row.columns), row)
    assert not check.passed
    assert check.different == 1
    assert row.columns[3] in check.detail

    def bent(forecasts: np.ndarray) -> np.ndarray:
        rows = traded.journal.copy()
        rows["price_units"][np.flatnonzero(rows["kind"] == FILL)[0]] += 1
        return rows

    report = parity_report(traded.journal, bent)
    assert [check.passed for check in report.checks] == [False, False]
    assert report.checks[0].different == 1


def test_everything_is_on_disk(world: World, traded: SessionResult) -> None:
    assert same_bits(load_journal(traded.folder / "journal.npz"), traded.journal)
    assert same_bits(read_rows(traded.folder), traded.journal)
    assert same_bits(read_forecasts(traded.folder), traded.forecasts)
    assert json.loads((traded.folder / "summary.json").read_text())["mode"] == "shadow"
    facts = read_facts(traded.folder)
    assert (facts["status"], facts["mode"], facts["late_rows"]) == ("closed", "shadow", 0)


def test_forecasts_are_written_down_before_the_engine_sees_them(world: World, fresh_root: object) -> None:
    class Stops(RuntimeError):
        pass

    class Broken(Engine):
        def run(self, *given: object, **named: object) -> tuple:  # type: ignore[override, type-arg]  # stands in once
            raise Stops

    from serving.executor import Sinks
    from serving.session_files import SessionFacts, SessionFiles

    folder = world.root.journals / "broken"
    executor = PaperExecutor(world.settings, world.session, world.bundle, "paper", world.signals)
    executor.engine = Broken(executor.config)
    files = SessionFiles(folder, SessionFacts("broken", "2026-01-07", "paper", "linear", "", "", ""))
    executor.sinks = Sinks(files)
    with pytest.raises(Stops):
        executor.step(world.events[:6_000])
    assert len(read_forecasts(folder)) > 50
    assert len(read_rows(folder)) == 0


def test_every_forecast_is_in_the_journal_as_it_was_made(traded: SessionResult) -> None:
    seen = traded.journal[traded.journal["kind"] == FORECAST]
    assert len(seen) == len(traded.forecasts)
    order = np.argsort(traded.forecasts["due_ns"], kind="stable")
    for name in ("p_down", "p_flat", "p_up", "edge_units", "instrument_id"):
        assert np.array_equal(seen[name], traded.forecasts[name][order])


def test_a_batch_from_before_the_watermark_is_refused(world: World) -> None:
    executor = PaperExecutor(world.settings, world.session, world.bundle, "paper", world.signals)
    executor.step(world.events[:1_000])
    with pytest.raises(ValueError, match="before the feed's own watermark"):
        executor.step(world.events[:10])
    executor.step(empty_events(0))


def test_a_bundle_for_other_features_is_refused(world: World) -> None:
    other = world.settings.model_copy(
        update={"sampling": world.settings.sampling.model_copy(update={"every_events": 26})}
    )
    with pytest.raises(BundleError, match="was made for features"):
        PaperExecutor(other, world.session, world.bundle, "paper")


def test_flattening_closes_what_is_held(world: World) -> None:
    executor = PaperExecutor(world.settings, world.session, world.bundle, "paper", world.signals)
    parts = np.array_split(world.events, 300)
    upto = 0
    while not any(executor.positions().values()):
        executor.step(parts[upto])
        upto += 1
    asked = executor.watermark_ns
    rows = [executor.step(parts[upto], controls=executor.flatten("a new champion")).journal]
    rows += [executor.step(part).journal for part in parts[upto + 1 : upto + 4]]
    journal = np.concatenate(rows)
    obeyed = journal[journal["kind"] == CONTROL]
    assert obeyed["ts_ns"].tolist() == [asked]
    fills = journal[(journal["kind"] == FILL) & (journal["ts_ns"] < asked + 10**9)]
    assert 0 in fills["position_lots"].tolist()


def test_a_session_done_twice_leaves_one_in_the_ledger(world: World, traded: SessionResult) -> None:
    from serving.ledger_store import read_ledger

    before = read_ledger(world.root.ledger_database, "fills", traded.session_id)
    run_session(world.root, world.settings, world.session, world.events, world.bundle, "shadow", signals=world.signals)
    after = read_ledger(world.root.ledger_database, "fills", traded.session_id)
    assert before.equals(after)
    assert read_ledger(world.root.ledger_database, "sessions").height == 1
