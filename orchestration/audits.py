"""The asset checks that Dagster shows: the audits' many findings, gathered into one sentence for each thing that can be wrong.

Dagster writes several events a check and partition; a check for every single finding would cost more than the audits. Every
finding is in the partition's manifest and in the metadata of its sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from marketdata import check_names as names
from marketdata.partitions import CheckResult

SENTENCES: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "raw_ticks": {
        "raw_ticks_are_well_formed": names.RAW_TICKS,
        "raw_suite_holds": (names.RAW_SUITE,),
    },
    "events": {
        "events_are_well_formed": (
            "event_columns_are_present",
            "events_exist",
            "event_actions_and_sides_are_known",
            "event_sizes_are_not_negative",
            "event_groups_are_closed",
        ),
        "clocks_are_ordered": (
            "event_times_do_not_go_back",
            "receive_times_do_not_go_back",
            "nothing_is_received_before_it_happened",
            "events_lie_within_the_session",
        ),
        "book_is_never_crossed": ("book_prices_are_on_the_tick", "book_is_never_crossed", "book_has_no_gaps"),
        "volume_is_conserved": ("volume_is_conserved", "executions_are_at_the_best"),
    },
    "feature_rows": {
        "feature_rows_are_well_formed": names.FEATURE_ROWS,
        "feature_suite_holds": (names.FEATURE_SUITE,),
    },
    "point_events": {"point_suite_holds": (names.POINT_SUITE,)},
    "labels": {
        "labels_belong_to_their_rows": names.LABELS,
        "label_suite_holds": (names.LABEL_SUITE,),
    },
    "options_chains": {"options_chains_are_well_formed": (*names.SLOW, names.SLOW_SUITE)},
    "social_posts": {"social_posts_are_well_formed": (*names.SLOW, names.SLOW_SUITE)},
    "onchain_transfers": {"onchain_transfers_are_well_formed": (*names.SLOW, names.SLOW_SUITE)},
    "options_signals": {"signal_suite_holds": (names.SIGNAL_SUITE,)},
    "social_signals": {"signal_suite_holds": (names.SIGNAL_SUITE,)},
    "onchain_signals": {"signal_suite_holds": (names.SIGNAL_SUITE,)},
    "dataset_day": {"dataset_suite_holds": (names.DATASET_SUITE,)},
}
"""Checks of each asset, and which findings of its audit each of them stands for."""


@dataclass(frozen=True)
class Sentence:
    """One asset check of a partition.

    ``is_error`` says whether a failed one stops the partition; ``findings`` are what it stands for.
    """

    name: str
    passed: bool
    is_error: bool
    findings: tuple[CheckResult, ...]

    @property
    def text(self) -> str:
        """Return what is wrong, or how many findings there were."""
        failed = [f"{c.name}: {c.detail}" if c.detail else c.name for c in self.findings if not c.passed]
        return "; ".join(failed) or f"{len(self.findings)} findings, all good"


def sentences(asset: str) -> tuple[str, ...]:
    """Return the names of an asset's checks."""
    return tuple(SENTENCES.get(asset, {}))


def gather(asset: str, findings: Sequence[CheckResult]) -> list[Sentence]:
    """Return the asset's checks with their outcome; findings that no sentence names count in the first."""
    groups = SENTENCES.get(asset, {})
    named = {finding for group in groups.values() for finding in group}
    gathered = []
    for place, (name, group) in enumerate(groups.items()):
        members = tuple(f for f in findings if f.name in group or (place == 0 and f.name not in named))
        failed = [finding for finding in members if not finding.passed]
        gathered.append(Sentence(name, not failed, any(finding.blocking for finding in failed), members))
    return gathered
