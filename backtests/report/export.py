"""Every table of a night's page as rows: CSV files, or one JSON file, for whoever wants the numbers and not the page."""

import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from backtests.report.record import NightRecord, save_record
from backtests.report.trading_sections import cumulative, drawdown, hourly

Rows = list[dict[str, Any]]


def night_tables(record: NightRecord) -> dict[str, Rows]:
    """Return every table of a night by name; a table without rows is left out.

    Values are JSON types; ``None`` is "not known". Times are nanoseconds UTC, money is in the record's currency.
    """
    found = {name: make(record) for name, make in _TABLES.items()}
    return {name: rows for name, rows in found.items() if rows}


def export_json(record: NightRecord, path: Path) -> Path:
    """Write one JSON file with the whole record and every table, whole or not at all."""
    values = {"record": msgspec.to_builtins(record), "tables": night_tables(record)}
    return _write(path, msgspec.json.format(msgspec.json.encode(values), indent=1).decode() + "\n")


def export_csv(record: NightRecord, folder: Path) -> list[Path]:
    """Write one CSV file a table below a folder, and the record itself as JSON; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [_write(folder / f"{name}.csv", csv_text(rows)) for name, rows in night_tables(record).items()]
    save_record(record, folder / "record.json")
    return [*written, folder / "record.json"]


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header; lists are joined by blanks, what is not known is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return " ".join("" if item is None else str(item) for item in value)
    return value


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _plain(items: Sequence[Any]) -> Rows:
    """Return dataclasses as rows of their plain fields."""
    rows: Rows = []
    for item in items:
        values = {f.name: getattr(item, f.name) for f in fields(item)}
        rows.append(msgspec.to_builtins({k: v for k, v in values.items() if not is_dataclass(v)}))
    return rows


def _equity(record: NightRecord) -> Rows:
    found = record.evidence
    equity = {curve.name: cumulative(curve.net) for curve in found.curves}
    return [
        {"ts_ns": ts, **{name: round(values[k], 6) for name, values in equity.items()}}
        for k, ts in enumerate(found.ts_ns)
    ]


def _drawdown(record: NightRecord) -> Rows:
    found = record.evidence
    falls = {curve.name: drawdown(cumulative(curve.net)) for curve in found.curves}
    return [
        {"ts_ns": ts, **{name: round(values[k], 6) for name, values in falls.items()}}
        for k, ts in enumerate(found.ts_ns)
    ]


def _hours(record: NightRecord) -> Rows:
    found = record.evidence
    shown = next((curve for curve in found.curves if curve.name == found.shown), None)
    if shown is None:
        return []
    days, hours, cells = hourly(found, shown.net, record.time_zone)
    return [
        {"model": shown.name, "day": day, **dict(zip(hours, row, strict=True))}
        for day, row in zip(days, cells, strict=True)
    ]


def _figures(record: NightRecord) -> Rows:
    models = record.statistics.models if record.statistics else ()
    return [
        {"model": item.name, "kind": item.kind, "figure": name, **asdict(value)}
        for item in models
        for name, value in item.figures.items()
    ]


def _sets(record: NightRecord) -> Rows:
    models = record.statistics.models if record.statistics else ()
    return [{"model": m.name, "kind": m.kind, "net_p": m.net_p, "loss_p": m.loss_p} for m in models]


def _roc(record: NightRecord) -> Rows:
    models = record.statistics.models if record.statistics else ()
    return [
        {"model": m.name, "class": side, "false_positive": x, "true_positive": y, "area": curve.area}
        for m in models
        for side, curve in (("up", m.roc_up), ("down", m.roc_down))
        for x, y in zip(curve.false_positive, curve.true_positive, strict=True)
    ]


def _calibration(record: NightRecord) -> Rows:
    return [
        {"model": item.name, "class": side, **asdict(point)}
        for item in record.diagnoses
        for side, points in (("up", item.up), ("down", item.down))
        for point in points
    ]


def _confusion(record: NightRecord) -> Rows:
    names = ("down", "flat", "up")
    return [
        {"model": item.name, "came": came, **{f"called_{name}": n for name, n in zip(names, counts, strict=True)}}
        for item in record.diagnoses
        for came, counts in zip(names, item.confusion, strict=True)
    ]


def _slippage(record: NightRecord) -> Rows:
    found = record.execution
    if found is None:
        return []
    ends = zip(found.slippage_edges, found.slippage_edges[1:], found.slippage_counts, strict=False)
    return [{"model": found.model, "from_bps": low, "to_bps": high, "fills": count} for low, high, count in ends]


def _markouts(record: NightRecord) -> Rows:
    found = record.execution
    marks = found.markouts if found else ()
    return [
        {"after_s": m.after_s, "fills": m.fills, **{f"{k}_bps": v for k, v in asdict(m.bps).items()}} for m in marks
    ]


def _paper_equity(record: NightRecord) -> Rows:
    found = record.paper
    if found is None:
        return []
    return [{"ts_ns": ts, "equity": value} for ts, value in zip(found.ts_ns, found.equity, strict=True)]


_TABLES: Final[Mapping[str, Callable[[NightRecord], Rows]]] = {
    "league": lambda r: _plain(r.league),
    "figures": _figures,
    "confidence_sets": _sets,
    "gate_tests": lambda r: _plain(r.decision.tests if r.decision else ()),
    "gate_requirements": lambda r: _plain(r.decision.requirements if r.decision else ()),
    "controls": lambda r: _plain(r.controls),
    "equity": _equity,
    "drawdown": _drawdown,
    "round_trips": lambda r: [{"model": r.evidence.shown, "net_pnl": value} for value in r.evidence.round_trips],
    "hours": _hours,
    "band": lambda r: _plain(r.band),
    "slippage": _slippage,
    "markouts": _markouts,
    "latencies": lambda r: _plain(r.execution.latencies if r.execution else ()),
    "uplift": lambda r: _plain(r.uplift.rows if r.uplift else ()),
    "sensitivity": lambda r: _plain(r.surfaces.points if r.surfaces else ()),
    "calibration": _calibration,
    "confusion": _confusion,
    "roc": _roc,
    "ablations": lambda r: _plain(r.ablations),
    "paper_equity": _paper_equity,
    "paper_instruments": lambda r: _plain(r.paper.instruments if r.paper else ()),
    "paper_risk_events": lambda r: _plain(r.paper.risk_events if r.paper else ()),
    "parity": lambda r: _plain(r.parity),
    "partitions": lambda r: _plain(r.partitions),
    "features": lambda r: _plain(r.features),
    "labels": lambda r: _plain(r.labels),
    "signals": lambda r: _plain(r.signals),
    "stages": lambda r: _plain(r.stages),
    "timings": lambda r: _plain(r.timings),
}
"""Every table by name, in the order of the page."""
