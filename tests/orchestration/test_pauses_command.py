"""`flowsense pauses` lists what the engine will obey: the same windows, in local time, with the sessions that they meet."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from marketdata.clock import NS_PER_S
from marketdata.paths import DataRoot
from marketdata.presets import preset
from marketdata.settings import save_settings
from orchestration.cli.main import app
from orchestration.cli.overrides import overridden
from trading.configured_venues import calendar_controls
from trading.controls import FUNDING, PAUSE

RULES = (
    'pauses.shabbat={latitude=40.713, longitude=-74.006, time_zone="America/New_York"}',
    'pauses.dates=["2026-01-06"]',
    'pauses.maintenance=[{start="12:00", minutes=5, time_zone="America/New_York", weekday="wed"}]',
    'venues.SIM.funding={rate_bps=1, times=["20:00"]}',
    'venues.SIM.downtime=[{start="16:30", minutes=5, time_zone="UTC", weekday="thu"}]',
)


def _listed(root: Path, *arguments: str) -> Any:
    save_settings(preset("simulated", None), DataRoot(root).settings_file)
    rules = [part for rule in RULES for part in ("--with", rule)]
    made = CliRunner().invoke(app, ["--root", str(root), "pauses", "--date", "2026-01-05", *rules, *arguments])
    assert made.exit_code == 0, made.output
    return made


def test_each_window_is_listed_once_with_its_sessions(tmp_path: Path) -> None:
    rows = json.loads(_listed(tmp_path, "--days", "7", "--json").stdout)
    windows = [(r["what"], r["start_local"], r["sessions"]) for r in rows if r["what"] != "funding"]
    assert windows == [
        ("day off", "Tue 2026-01-06 00:00:00", ["2026-01-06"]),
        ("maintenance", "Wed 2026-01-07 12:00:00", ["2026-01-07"]),
        ("SIM is down", "Thu 2026-01-08 11:30:00", ["2026-01-08"]),
        ("Shabbat", "Fri 2026-01-09 16:28:41", []),
    ]
    assert [r["start_local"][4:] for r in rows if r["what"] == "funding"] == [
        f"2026-01-0{day} 15:00:00" for day in range(5, 10)
    ]
    text = _listed(tmp_path, "--days", "7").stdout
    assert "60 s before a pause; positions: hold" in text


def test_what_is_listed_is_what_the_engine_obeys(tmp_path: Path) -> None:
    rows = json.loads(_listed(tmp_path, "--days", "7", "--json").stdout)
    settings = overridden(preset("simulated", None), list(RULES))
    lead = round(settings.pauses.lead_s * NS_PER_S)
    for session in settings.market_calendar().first_sessions(settings.start_date, 5):
        obeyed = calendar_controls(settings, session)
        own = [r for r in rows if session.date.isoformat() in r["sessions"]]
        pauses = [r["start_ns"] - lead for r in own if r["what"] in ("Shabbat", "day off", "maintenance")]
        assert pauses == obeyed["due_ns"][obeyed["kind"] == PAUSE].tolist()
        funding = {r["start_ns"] for r in own if r["what"] == "funding"}
        assert funding == set(obeyed["due_ns"][obeyed["kind"] == FUNDING].tolist())


def test_a_calendar_without_rules_says_so(tmp_path: Path) -> None:
    save_settings(preset("simulated", None), DataRoot(tmp_path).settings_file)
    made = CliRunner().invoke(app, ["--root", str(tmp_path), "pauses", "--date", "2026-01-05"])
    assert made.exit_code == 0
    assert "nothing is due" in made.stdout
