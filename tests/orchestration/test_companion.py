"""Companions: work ahead in another process, and the same result whoever does it."""

import os
import time

import pytest

from orchestration.companion import accompanied, companion_count, is_accompanied, offer, take
from tests.orchestration import companion_work as work


@pytest.fixture(scope="module")
def one():
    with accompanied(1) as companions:
        yield companions


def until(condition):
    while not condition():
        time.sleep(0.01)


def test_work_that_was_offered_is_done_in_another_process(one):
    offer("number", "test", work.own_process)
    until(lambda: one._tasks["number"].is_ended)
    assert take("number", work.own_process) != os.getpid()


def test_work_that_nobody_offered_is_done_here(one):
    assert take("never offered", work.own_process) == os.getpid()


def test_an_error_is_met_by_who_takes_the_work_and_the_companion_goes_on(one):
    offer("bad", "test", work.refuse, "the file is torn")
    offer("good", "test", work.own_process)
    until(lambda: one._tasks["good"].is_ended)
    with pytest.raises(ValueError, match="the file is torn"):
        take("bad", work.refuse, "the file is torn")
    assert take("good", work.own_process) != os.getpid()


def test_who_waits_does_other_work_of_the_kind_and_none_of_another(one, tmp_path):
    begun, released = tmp_path / "begun", tmp_path / "released"
    offer("long", "fit", work.wait_for, begun, released)
    until(begun.exists)
    offer("other kind", "world", work.refuse, "a fit does not wait for a world")
    offer("same kind", "fit", work.release, released)
    assert take("long", work.wait_for, begun, released) != os.getpid()
    assert take("same kind", work.release, released) == os.getpid()


def test_what_a_companion_died_of_is_done_here(tmp_path):
    with accompanied(1):
        offer("deadly", "test", work.die_unless, os.getpid())
        offer("next", "test", work.own_process)
        assert take("deadly", work.die_unless, os.getpid()) == os.getpid()
        assert take("next", work.own_process) == os.getpid()


def test_without_companions_everything_is_done_here():
    with accompanied(0):
        assert not is_accompanied()
        offer("number", "test", work.own_process)
        assert take("number", work.own_process) == os.getpid()


def test_the_setting_says_how_many_processes_there_are_in_all():
    assert companion_count(1) == 0
    assert companion_count(2) == 1
    assert companion_count(0) >= 0
