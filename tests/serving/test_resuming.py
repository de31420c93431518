"""A session survives a restart: an executor that is killed goes on where it stood, and ends as if it had never stopped."""

import json
from pathlib import Path

import numpy as np
import pytest

from marketdata.paths import DataRoot
from marketdata.settings import save_settings
from serving.account import load_account, obeyed_by
from serving.checkpoints import CHECKPOINT_FILE, CheckpointError, read_checkpoint, save_checkpoint
from serving.instructions import CONTROL_IDS, InstructionError, instruct, log_file, read_instructions, standing
from serving.ledger_store import read_ledger
from serving.live import LiveTrader
from serving.resuming import Overlap
from serving.session_files import read_forecasts
from tests.serving.conftest import World
from tests.serving.test_live import Stands, items_of, journals, other_bundle, trader_of
from trading.journal import CONTROL, FILL, ORDER, REASON_NAMES, REJECTED_ROW

CUT = 37
"""Items after which the executor is killed; positions are open then."""


def fed(root: DataRoot, world: World, items: list, stands: Stands | None = None) -> tuple[LiveTrader, list[str]]:
    trader, said = trader_of(root, world, stands or Stands("paper", world.bundle))
    for item in items:
        trader.take(item)
    return trader, said


def uninterrupted(root: DataRoot, world: World) -> np.ndarray:
    fed(DataRoot(root.path / "whole"), world, items_of(world))
    (journal,) = journals(DataRoot(root.path / "whole"))
    return journal


@pytest.mark.parametrize("how", ["killed", "stopped", "killed later than its checkpoint"])
def test_a_restarted_executor_goes_on_where_it_stood_and_ends_as_if_it_had_not_stopped(
    world: World, fresh_root: DataRoot, how: str
) -> None:
    items = items_of(world)
    first, _ = fed(fresh_root, world, items[:CUT])
    if how == "stopped":
        first.close("stopped")
    else:
        first.beat(connected=True)
        if how != "killed":
            for item in items[CUT : CUT + 6]:
                first.take(item)
    _, said = fed(fresh_root, world, items)
    assert any("goes on from" in line for line in said)
    assert any("resumed with" in line for line in said)
    whole = uninterrupted(fresh_root, world)
    (journal,) = journals(fresh_root)
    assert all(np.array_equal(journal[name], whole[name]) for name in journal.dtype.names)
    assert (journal["kind"] == FILL).sum() > 10
    (folder,) = fresh_root.journals.glob("live-*")
    twin = next((fresh_root.path / "whole").glob("journals/live-*"))
    assert np.array_equal(read_forecasts(folder), read_forecasts(twin))
    assert json.loads((folder / "session.json").read_text())["status"] == "closed"
    assert not (folder / CHECKPOINT_FILE).exists(), "a closed session is not resumed"
    fills = read_ledger(fresh_root.ledger_database, "fills")
    assert fills.height == (whole["kind"] == FILL).sum()
    orders = read_ledger(fresh_root.ledger_database, "orders")
    assert orders.height == (whole["kind"] == ORDER).sum()
    assert load_account(fresh_root, "paper") == load_account(DataRoot(fresh_root.path / "whole"), "paper")


def test_a_stream_that_goes_on_in_the_middle_of_a_batch_gives_no_event_twice() -> None:
    events = np.zeros(6, [("ts_recv", "i8"), ("n", "i8")])
    events["ts_recv"], events["n"] = [1, 2, 5, 5, 5, 9], range(6)
    overlap = Overlap(5, 2)
    assert overlap.fresh(events[:2])["n"].tolist() == []
    assert overlap.fresh(events[2:3])["n"].tolist() == []
    assert overlap.fresh(events[3:])["n"].tolist() == [4, 5]


def test_another_model_or_another_day_does_not_go_on_with_it(world: World, fresh_root: DataRoot) -> None:
    first, _ = fed(fresh_root, world, items_of(world)[:CUT])
    first.beat(connected=True)
    _, said = fed(fresh_root, world, items_of(world)[:3], Stands("paper", other_bundle(world.bundle)))
    assert any("another model stands now" in line for line in said)
    assert not any("resumed" in line for line in said)


def test_a_damaged_checkpoint_is_said_and_the_session_starts_anew(world: World, fresh_root: DataRoot) -> None:
    first, _ = fed(fresh_root, world, items_of(world)[:CUT])
    first.beat(connected=True)
    (path,) = fresh_root.journals.glob(f"live-*/{CHECKPOINT_FILE}")
    path.write_bytes(path.read_bytes()[:1000])
    _, said = fed(fresh_root, world, items_of(world)[:3])
    assert any("starts anew" in line and "no readable checkpoint" in line for line in said)


def test_a_checkpoint_of_other_settings_is_refused(world: World, fresh_root: DataRoot) -> None:
    first, _ = fed(fresh_root, world, items_of(world)[:CUT])
    first.beat(connected=True)
    changed = world.settings.model_copy(
        update={"risk": world.settings.risk.model_copy(update={"max_position_lots": 3})}
    )
    save_settings(changed, fresh_root.settings_file)
    said: list[str] = []
    trader = LiveTrader(fresh_root, changed, say=said.append)
    trader._watch = Stands("paper", world.bundle)  # type: ignore[assignment]  # who stands is given
    trader.take(items_of(world)[0])
    assert any("another engine fingerprint" in line for line in said)


def test_a_stored_state_of_another_form_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_FILE
    save_checkpoint(path, (np.arange(3), {1: 2}, frozenset({4}), 5, None), {"a": 1})
    stored = read_checkpoint(path)
    array, table, members, number, nothing = stored.fill((np.zeros(1, np.int64), {}, frozenset(), 0, None))
    assert array.tolist() == [0, 1, 2]
    assert (table, members, number, nothing, stored.facts) == ({1: 2}, frozenset({4}), 5, None, {"a": 1})
    with pytest.raises(CheckpointError, match="/0 of float64"):
        stored.fill((np.zeros(1), {}, frozenset(), 0, None))
    with pytest.raises(CheckpointError, match="/4, which this version does not know"):
        stored.fill((np.zeros(1, np.int64), {}, frozenset(), 0))
    with pytest.raises(CheckpointError, match="object cannot be stored"):
        save_checkpoint(path, (object(),), {})


def test_a_kill_by_hand_flattens_and_lets_nothing_open_until_a_named_person_re_arms(
    world: World, fresh_root: DataRoot
) -> None:
    items = items_of(world)
    trader, said = fed(fresh_root, world, items[:CUT])
    killed = instruct(fresh_root, "kill", "ann", "the feed looks wrong")
    trader.look()
    for item in items[CUT : CUT + 10]:
        trader.take(item)
    assert any("KILL by ann: the feed looks wrong" in line for line in said)
    assert trader._session is not None
    assert trader._session.facts()["kill"] == "by ann: the feed looks wrong"
    assert not any(trader._session.facts()["positions"].values())
    instruct(fresh_root, "rearm", "bob", "it was the display")
    trader.look()
    for item in items[CUT + 10 :]:
        trader.take(item)
    (journal,) = journals(fresh_root)
    controls = journal[journal["kind"] == CONTROL]
    assert controls["order_id"].tolist() == [CONTROL_IDS + killed.number, CONTROL_IDS + killed.number + 1]
    between = journal[(journal["ts_ns"] > controls["ts_ns"][0]) & (journal["ts_ns"] < controls["ts_ns"][1])]
    refused = between[between["kind"] == REJECTED_ROW]
    assert {REASON_NAMES[row["reason"]] for row in refused} <= {"killed", "flattening", "nothing_left_to_take"}
    after = journal[journal["ts_ns"] > controls["ts_ns"][1]]
    assert (after["kind"] == ORDER).any(), "trading goes on after the re-arm"
    assert obeyed_by(fresh_root, "paper") == 2


def test_a_kill_holds_over_a_restart_and_into_the_next_session(world: World, fresh_root: DataRoot) -> None:
    items = items_of(world)
    trader, _ = fed(fresh_root, world, items[:CUT])
    instruct(fresh_root, "kill", "ann", "stop")
    trader.look()
    trader.take(items[CUT])
    trader.beat(connected=True)
    again, said = fed(fresh_root, world, items)
    assert not any("KILL" in line for line in said), "the checkpoint knows of it"
    assert again._session is None
    (journal,) = journals(fresh_root)
    stopped = journal["ts_ns"][journal["kind"] == CONTROL][0]
    held = journal[(journal["kind"] == FILL) & (journal["ts_ns"] > stopped)]
    assert (np.abs(held["position_lots"]) <= np.abs(held["position_lots"] - held["side"] * held["size_lots"])).all()

    _, said = fed(fresh_root, world, items)
    assert any("KILL by ann: stop" in line for line in said), "a new session is told what still stands"
    newest = journals(fresh_root)[-1]
    assert not (newest["kind"] == ORDER).any()


def test_a_pause_is_taken_back_by_a_resume(world: World, fresh_root: DataRoot) -> None:
    instruct(fresh_root, "pause", "ann", "maintenance", flatten=False)
    trader, _ = fed(fresh_root, world, items_of(world)[:CUT])
    assert trader._session is not None
    assert "fills" in trader._session.facts()
    assert trader._session.facts()["fills"] == 0
    instruct(fresh_root, "resume", "ann", "done")
    trader.look()
    for item in items_of(world)[CUT:]:
        trader.take(item)
    (journal,) = journals(fresh_root)
    assert (journal["kind"] == FILL).any()


def test_an_instruction_needs_a_name_and_a_reason_and_the_log_shows_a_change(tmp_path: Path) -> None:
    root = DataRoot(tmp_path)
    for by, reason in (("", "why"), ("ann", " "), ("a" * 40, "why")):
        with pytest.raises(InstructionError):
            instruct(root, "rearm", by, reason)
    for verb in ("kill", "pause", "rearm", "kill", "resume"):
        instruct(root, verb, "ann", f"{verb} it", now_ns=lambda: 7)
    given = read_instructions(root)
    assert [item.number for item in given] == [1, 2, 3, 4, 5]
    assert [item.verb for item in standing(given, 5)] == ["kill"]
    assert [item.verb for item in standing(given, 2)] == ["kill", "pause", "rearm", "kill", "resume"]
    log = log_file(root)
    log.write_text(log.read_text().replace("pause it", "pause us", 1))
    with pytest.raises(InstructionError, match="line 3 does not follow"):
        read_instructions(root)
