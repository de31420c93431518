"""``flowsense features order-flow``: the tables of docs/order_flow.md and docs/labels.md, from a folder of LOBSTER files."""

from collections.abc import Iterator
from pathlib import Path

from features.entry import LEVELS
from features.order_flow import Explained


def study_lines(folder: Path, seed: int = 0) -> Iterator[str]:
    """Yield the tables as lines of text: regressions, their shuffles, errors of fair prices, and the label's forms.

    Raises
    ------
    SettingsError
        If the folder holds no pair of LOBSTER files.
    """
    from features.labels import compare_forms
    from features.microprice_study import FAIR_PRICES, TRAIN_HOURS, microprice_study
    from features.order_flow import bin_flows, group_flows, impact_regressions, integrated_weights, shuffled
    from features.pipeline import rows_of_session
    from marketdata.sources import build_source, preset

    settings = preset("lobster", folder)
    source = build_source(settings)
    for item in settings.instruments:
        session = source.sessions()[0]
        events = source.events(source.raw_ticks(session.date, item.symbol), session.date, item.symbol)
        probe = group_flows(events, LEVELS)
        levels = LEVELS if probe.depth[:, 1].max() > 2 else 1
        groups = probe if levels == LEVELS else group_flows(events, 1)
        bins = bin_flows(groups, session)
        yield f"{item.symbol} {session.date}: {len(events):,} rows, {len(groups.ts_recv):,} groups, {levels} level(s)"
        yield f"  {'R² of the same 10 s':<26} {'half hours':>10} {'in the next':>12} {'whole day':>10}"
        yield from _table(impact_regressions(bins))
        if levels > 1:
            yield "  weights " + " ".join(f"{value:.3f}" for value in integrated_weights(bins))
        yield f"  the same with the groups' flows dealt out anew (seed {seed})"
        yield from _table(impact_regressions(bin_flows(shuffled(groups, seed), session)))
        yield f"  fair prices, table from the first {TRAIN_HOURS} h, RMSE in ticks on the quotes of the rest (MAE in brackets)"
        yield (
            f"  {'target':<12} {'quotes':>8}"
            + "".join(f" {name:>18}" for name in FAIR_PRICES)
            + "  MSE below the mid's: micro-price | first move"
        )
        for row in microprice_study(events, item, session, seed):
            errors = "".join(f" {row.rmse[name]:>9.3f} ({row.mae[name]:.3f})" for name in FAIR_PRICES)
            shares = " | ".join(_share(*gain) for gain in (row.gain_over_mid, row.first_over_mid))
            yield f"  {row.target:<12} {row.quotes:>8,}{errors}  {shares}"
        rows = rows_of_session(settings, item, session, events, [])
        yield f"  labels of {len(rows.keys):,} rows, shares and accuracies in %; horizon {settings.label.horizon_ns / 1e9:g} s"
        heads = ("labelled", "down", "flat", "up", "majority", "persistence", "row before", "already past")
        yield f"  {'form':<15}" + "".join(f" {head:>12}" for head in heads)
        for score in compare_forms(rows, events, item, settings.label, settings.latency, session):
            known = (score.down, score.flat, score.up, score.majority, score.persistence, score.previous_row)
            figures = (*known, score.already_happened)
            numbers = "".join(f" {100 * value:>12.1f}" if value == value else f" {'-':>12}" for value in figures)
            yield f"  {score.form:<15} {score.labelled:>12,}{numbers}"
        yield ""


def _table(found: tuple[Explained, ...]) -> Iterator[str]:
    for one in found:
        yield f"  {one.measure:<26} {one.inside:>10.3f} {one.ahead:>12.3f} {one.whole:>10.3f}"


def _share(gain: float, low: float, high: float) -> str:
    return f"{100 * gain:+.2f} % [{100 * low:+.2f}, {100 * high:+.2f}]"
