"""Each kind of slow data: a bad session is kept out with its reason, and the sessions after it do without it."""

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from marketdata.partitions import PartitionQuarantined, load_partition, read_manifest, read_quarantined
from marketdata.paths import DataRoot, PartitionKey
from marketdata.sources import SimulatedSource
from orchestration.raw_names import RAW_OF
from orchestration.stage import StageContext, publish_partition
from orchestration.stages_slow import raw_stage, signal_stage
from tests.small_world import small_settings

SETTINGS = small_settings(sessions=3, instruments=2, events=2_000)
DAYS = [session.date for session in SETTINGS.market_calendar().first_sessions(SETTINGS.start_date, 3)]
SOURCE = SimulatedSource(SETTINGS)

FAULTS = {
    "options": (pl.col("expiry_ns") - 10**18, "slow_suite_holds", "column_A=expiry_ns"),
    "social": (pl.lit(-1, pl.Int64).alias("votes"), "slow_values_are_not_negative", "one of votes is negative"),
    "onchain": (pl.col("ts_block") + 10**13, "slow_rows_are_known_only_after_they_happened", "known before ts_block"),
}


@dataclass
class _Broken:
    """The simulated market, whose second session of one kind is broken."""

    kind: str

    def source(self) -> "_Broken":
        return self

    def slow_raw(self, kind: str, day: date) -> pl.DataFrame:
        frame = SOURCE.slow_raw(kind, day)
        return frame.with_columns(FAULTS[kind][0]) if (kind, day) == (self.kind, DAYS[1]) else frame


@pytest.mark.parametrize("kind", list(FAULTS))
def test_a_bad_session_is_quarantined_with_its_reason_and_the_next_one_says_that_it_is_missing(
    kind: str, tmp_path: Path
) -> None:
    root = DataRoot(tmp_path / "root")
    source = _Broken(kind)
    first = StageContext(root, SETTINGS, source, DAYS[0])  # type: ignore[arg-type]  # only slow rows are asked of it
    raw, signals = RAW_OF[kind], f"{kind}_signals"
    _, name, said = FAULTS[kind]
    for day in (DAYS[0], DAYS[2]):
        list(publish_partition(replace(first, day=day), raw, raw_stage(kind)))
    second = replace(first, day=DAYS[1])
    with pytest.raises(dg.Failure, match=said):
        list(publish_partition(second, raw, raw_stage(kind)))
    with pytest.raises(PartitionQuarantined):
        load_partition(root, PartitionKey(raw, DAYS[1]))
    manifest = read_quarantined(root, PartitionKey(raw, DAYS[1]))
    assert name in [check.name for check in manifest.failures]
    with pytest.raises(dg.Failure, match="quarantine"):
        list(publish_partition(second, signals, signal_stage(kind)))
    list(publish_partition(replace(first, day=DAYS[2]), signals, signal_stage(kind)))
    extra = read_manifest(root, PartitionKey(signals, DAYS[2])).extra
    assert said in extra["history_skipped"][DAYS[1].isoformat()]
    assert extra["history_sessions"] == 2
    assert extra["detail"]
