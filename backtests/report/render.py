"""The page of one night: one file, no network, light and dark."""

import os
from html import escape
from importlib.resources import files
from pathlib import Path

from backtests.report import (
    data_sections,
    decision_sections,
    evidence_sections,
    feature_sections,
    numbers,
    trading_sections,
)
from backtests.report.glossary import GLOSSARY
from backtests.report.html import anchor, section
from backtests.report.record import NightRecord

LINKS = (
    ("decision", "Decision"),
    ("league", "League"),
    ("controls", "Controls"),
    ("statistics", "Intervals"),
    ("pnl", "P&L"),
    ("execution", "Execution"),
    ("uplift", "Uplift"),
    ("surfaces", "Sensitivity"),
    ("paper", "Paper"),
    ("diagnosis", "Calibration"),
    ("roc", "ROC"),
    ("quality", "Data"),
    ("features", "Features"),
    ("information", "Information"),
    ("books", "Books"),
    ("machine", "Night"),
)


def render_night_report(record: NightRecord, path: Path) -> Path:
    """Write the night's page as one self-contained HTML file, whole or not at all.

    Parameters
    ----------
    record : NightRecord
        What the page shows; parts that are not there are left out or named as absent.
    path : Path
        Where it goes; the folder is made.

    Returns
    -------
    Path
        ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(night_page(record), encoding="utf-8")
    os.replace(temporary, path)
    return path


def render_feature_page(record: NightRecord, path: Path) -> Path:
    """Write the features, labels and books of a record as a page of their own, whole or not at all."""
    sections = "".join(
        (
            feature_sections.information(record),
            feature_sections.books(record),
            data_sections.features(record),
            _glossary(),
        )
    )
    title = f"FlowSense · features of {record.day.isoformat()} · {record.source}"
    head = f"<h1>Features of {record.day:%A} {numbers.day(record.day)}</h1>"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(_page(title, _header(record, head), sections, _footer(record)), encoding="utf-8")
    os.replace(temporary, path)
    return path


def night_page(record: NightRecord) -> str:
    """Return the page as text."""
    sections = "".join(
        (
            decision_sections.decision(record),
            decision_sections.league(record),
            decision_sections.controls(record),
            evidence_sections.statistics(record),
            trading_sections.evidence(record),
            evidence_sections.execution(record),
            evidence_sections.uplift(record),
            evidence_sections.surfaces(record),
            trading_sections.paper(record),
            trading_sections.parity(record),
            decision_sections.diagnoses(record),
            evidence_sections.roc_curves(record),
            data_sections.ablations(record),
            data_sections.quality(record),
            data_sections.features(record),
            feature_sections.information(record),
            feature_sections.books(record),
            data_sections.machine(record),
            _glossary(),
        )
    )
    title = f"FlowSense · night of {record.day.isoformat()} · {record.source}"
    head = f"<h1>Night of {record.day:%A} {numbers.day(record.day)}</h1>"
    top = f"{_header(record, head)}{decision_sections.status_line(record)}{_notes(record)}"
    return _page(title, top, sections, _footer(record))


def _page(title: str, top: str, sections: str, footer: str) -> str:
    """Return a page around its sections, with links to those that are there."""
    resources = files("backtests.report")
    style = resources.joinpath("report.css").read_text(encoding="utf-8")
    script = resources.joinpath("report.js").read_text(encoding="utf-8")
    links = "".join(f'<a href="#{key}">{escape(name)}</a>' for key, name in LINKS if f'id="{key}"' in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f"<main>{top}"
        f'<nav aria-label="sections">{links}</nav>{sections}{footer}</main>'
        f"<script>{script}</script></body></html>\n"
    )


def _header(record: NightRecord, head: str) -> str:
    world = f" · {escape(record.world)}" if record.world else ""
    days = f"{len(record.train_days):,} training {record.fold_unit}s, {len(record.test_days):,} tested"
    facts = [
        escape(record.source) + world,
        f"{len(record.instruments):,} instruments" if record.instruments else "",
        days if record.train_days or record.test_days else "",
        f"horizon {numbers.span(record.horizon_ns)}" if record.horizon_ns else "",
    ]
    return (
        '<header><div class="brand"><span class="logo" aria-hidden="true"></span>FlowSense</div>'
        f"{head}"
        f'<p class="facts">{" · ".join(f for f in facts if f)}</p></header>'
    )


def _notes(record: NightRecord) -> str:
    return "".join(f'<p class="notice">{escape(note)}</p>' for note in record.notes)


def _glossary() -> str:
    entries = "".join(
        f'<dt id="g-{anchor(word)}">{escape(word)}</dt><dd>{escape(text)}</dd>' for word, text in GLOSSARY.items()
    )
    return section("glossary", "Words", f"<dl>{entries}</dl>")


def _footer(record: NightRecord) -> str:
    build = record.build
    dirty = " with local changes" if build.dirty else ""
    libraries = " · ".join(f"{escape(name)} {escape(version)}" for name, version in sorted(build.libraries.items()))
    return (
        f"<footer><p>FlowSense {escape(build.version)} · commit {numbers.digest(build.commit, 10)}{dirty}"
        f" · code {numbers.digest(build.code_sha256)} · data {numbers.digest(build.data_sha256)}"
        f" · settings {numbers.digest(build.settings_sha256)}</p>"
        f"<p>{libraries}</p><p>made {numbers.moment(record.generated_ns, 'UTC')}</p></footer>"
    )
