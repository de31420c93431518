"""What the controls say about the gate, in one sentence: null and planted together, for the page and the terminal."""

from collections.abc import Sequence

from backtests.report.record import ControlRow


def gate_so_far(rows: Sequence[ControlRow]) -> str:
    """Return how often this version of the gate promoted in small null worlds, and in planted ones by strength.

    Bounds are exact at 95 %: above for worlds to refuse, below for worlds to promote. Empty where there is no row of either.
    """
    small = [row for row in rows if row.world != "n0"]
    if not small:
        return ""
    null = [row for row in small if row.world != "planted"]
    parts = [_part("null", sum(r.promoted_total for r in null), sum(r.runs_total for r in null), refuse=True)]
    planted = sorted((row for row in small if row.world == "planted"), key=lambda row: row.strength or 0.0)
    for row in planted:
        name = f"planted {row.strength or 0.0:+g}"
        parts.append(_part(name, row.promoted_total, row.runs_total, refuse=row.expects == "refuse"))
    return f"this gate so far: {'; '.join(parts)}"


def _part(name: str, promoted: int, runs: int, *, refuse: bool) -> str:
    from backtests.controls import exact_bounds

    if runs == 0:
        return f"{name} not run yet"
    low, high = exact_bounds(promoted, runs)
    bound = f"upper 95 % {high:.1%}" if refuse else f"lower 95 % {low:.1%}"
    return f"{name} {promoted}/{runs} promoted, {bound}"
