"""The checks of each partition asset, by name: what an audit returns, known before it runs.

Light on purpose: an orchestrator declares its asset checks from here without loading a parser or a suite.
"""

from typing import Final

RAW_TICKS: Final = (
    "raw_columns_are_present",
    "raw_rows_exist",
    "raw_values_are_not_missing",
    "raw_clock_does_not_go_back",
    "raw_sizes_are_not_negative",
    "raw_quotes_are_consistent",
)
EVENTS: Final = (
    "event_columns_are_present",
    "events_exist",
    "event_times_do_not_go_back",
    "receive_times_do_not_go_back",
    "nothing_is_received_before_it_happened",
    "events_lie_within_the_session",
    "event_actions_and_sides_are_known",
    "event_sizes_are_not_negative",
    "event_groups_are_closed",
    "book_prices_are_on_the_tick",
    "book_is_never_crossed",
    "volume_is_conserved",
    "executions_are_at_the_best",
    "book_has_no_gaps",
)
FEATURE_ROWS: Final = (
    "feature_key_columns_are_present",
    "feature_rows_exist",
    "feature_times_do_not_go_back",
    "feature_rows_lie_within_the_session",
    "feature_values_are_finite_or_missing",
    "feature_quotes_are_not_crossed",
    "feature_columns_are_not_all_missing",
)
LABELS: Final = (
    "label_columns_are_present",
    "labels_match_their_feature_rows",
    "label_classes_are_known",
    "labels_are_known_after_their_row",
    "label_classes_agree_with_moves",
    "labels_exist",
)
SLOW: Final = (
    "slow_columns_are_present",
    "slow_rows_exist",
    "slow_rows_are_ordered_by_known_time",
    "slow_rows_are_known_only_after_they_happened",
    "slow_rows_belong_to_the_session",
    "slow_rows_are_unique",
    "slow_values_are_not_negative",
    "slow_rows_are_fresh",
)
RAW_SUITE: Final = "raw_suite_holds"
FEATURE_SUITE: Final = "feature_suite_holds"
POINT_SUITE: Final = "point_suite_holds"
LABEL_SUITE: Final = "label_suite_holds"
SLOW_SUITE: Final = "slow_suite_holds"
SIGNAL_SUITE: Final = "signal_suite_holds"
DATASET_SUITE: Final = "dataset_suite_holds"

WARN_ONLY: Final = frozenset(
    {
        "feature_rows_exist",
        "feature_columns_are_not_all_missing",
        "labels_exist",
        "slow_rows_exist",
        "slow_rows_are_fresh",
        "executions_are_at_the_best",
        "book_has_no_gaps",
    }
)
"""Checks that are shown when they fail and stop nothing: a quiet day is no corrupt one."""

CHECK_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "raw_ticks": (*RAW_TICKS, RAW_SUITE),
    "events": EVENTS,
    "point_events": (POINT_SUITE,),
    "feature_rows": (*FEATURE_ROWS, FEATURE_SUITE),
    "labels": (*LABELS, LABEL_SUITE),
    "options_chains": (*SLOW, SLOW_SUITE),
    "social_posts": (*SLOW, SLOW_SUITE),
    "onchain_transfers": (*SLOW, SLOW_SUITE),
    "options_signals": (SIGNAL_SUITE,),
    "social_signals": (SIGNAL_SUITE,),
    "onchain_signals": (SIGNAL_SUITE,),
    "dataset_day": (DATASET_SUITE,),
}


def check_names(asset: str) -> tuple[str, ...]:
    """Return the names of an asset's checks in the order in which they are reported; none for an unaudited asset."""
    return CHECK_NAMES.get(asset, ())
