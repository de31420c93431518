"""The page shows what each feature says, every form of the label, and the book, and says nothing where it has nothing."""

import base64
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backtests.report.feature_sections import books, information, label_forms
from backtests.report.pictures import ASK, BID, depth_png, png
from backtests.report.record import NightRecord, load_record, save_record
from backtests.report.record_features import (
    BookPicture,
    ExplainedRow,
    FeatureInformation,
    FeatureReport,
    FoldInformation,
    LabelFormRow,
)
from backtests.report.render import night_page, render_feature_page
from marketdata.clock import NS_PER_HOUR
from tests.report.sample import promoted_night


def _pixels(picture: str) -> np.ndarray:
    """Return the pixels of one of our own PNGs: one IDAT, no filter."""
    data = base64.b64decode(picture)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    at = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[at - 4 : at])
    body = data[at + 4 : at + 4 + length]
    assert struct.unpack(">I", data[at + 4 + length : at + 8 + length])[0] == zlib.crc32(b"IDAT" + body)
    rows = np.frombuffer(zlib.decompress(body), np.uint8).reshape(height, 1 + 4 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 4)


def _fold(value: float, chosen: bool) -> FoldInformation:
    q = 0.0004 if chosen else 0.4
    return FoldInformation(coefficient=value, low=value - 0.02, high=value + 0.02, q_bh=q, q_by=q, chosen=chosen)


def _night() -> NightRecord:
    features = (
        FeatureInformation(
            name="ofi_best_1s",
            unit="1",
            formula="Σ <e_n>",
            cluster=0,
            cluster_size=2,
            chosen_share=1.0,
            steady_share=1.0,
            folds=(_fold(0.2, True), _fold(0.21, True)),
        ),
        FeatureInformation(
            name="microprice_bps",
            fitted=True,
            cluster=0,
            cluster_size=2,
            cost_ns=18.0,
            chosen_share=1.0,
            folds=(None, _fold(0.3, True)),
        ),
        FeatureInformation(
            name="noise", cluster=1, chosen_share=0.0, folds=(_fold(0.001, False), _fold(-0.002, False))
        ),
        FeatureInformation(name="unknown", cluster=2, chosen_share=0.0, folds=(FoldInformation(), FoldInformation())),
    )
    report = FeatureReport(
        folds=("2025-03-12", "next"), blocks=(26, 39), rows=(9_000, 13_000), clusters=3, features=features
    )
    forms = (
        LabelFormRow(
            form="executable", is_used=True, labelled=90, rows=100, down=0.2, flat=0.5, up=0.3, persistence=0.4
        ),
        LabelFormRow(form="smoothed", labelled=90, rows=100, down=0.1, flat=0.8, up=0.1, already_happened=0.83),
    )
    lots = np.zeros((2, 3, 4))
    lots[0, 2], lots[1, 0] = 10.0, 1.0
    open_ns = 1_741_872_600_000_000_000
    book = BookPicture(
        symbol="A<B",
        open_ns=open_ns,
        close_ns=open_ns + 6 * NS_PER_HOUR,
        depth_png=depth_png(lots),
        low=9.9,
        high=10.1,
        mid=(10.0, None, 10.01, 10.02),
        flow=((0.0, 1.0, 2.0), (0.0, 0.5, 0.1)),
        move=(0.0, 1.0, 1.0),
        weights=(0.6, 0.4),
        explained=(ExplainedRow(measure="best level", inside=0.53, ahead=0.06, whole=0.31),),
    )
    return replace(promoted_night(), information=report, label_forms=forms, books=(book,), time_zone="America/New_York")


def test_features_stand_by_what_was_found_and_those_without_information_are_folded_away() -> None:
    page = information(_night())
    shown, _, hidden = page.partition("<details")
    assert "ofi_best_1s" in shown
    assert "fitted</span>" in shown
    assert "noise" not in shown.partition("<tbody")[2]
    assert "noise" in hidden
    assert "2 features in which no information was found" in hidden
    assert "+0.210" in shown
    assert "1 / 1" in shown
    assert "2 / 2" in shown
    assert "&lt;e_n&gt;" in shown


def test_columns_that_move_together_name_the_one_that_says_most() -> None:
    page = information(_night())
    part = page[page.index("What moves together") :]
    assert part.index("microprice_bps") < part.index("ofi_best_1s")
    assert "noise" not in part


def test_every_form_of_the_label_has_its_line_and_the_one_in_use_is_marked() -> None:
    page = label_forms(_night())
    assert page.index("executable") < page.index("trained on") < page.index("smoothed")
    assert page.count("trained on") == 1
    assert "83.0 %" in page


def test_the_book_is_drawn_with_the_sessions_hours_and_escapes_names() -> None:
    page = books(_night())
    assert "data:image/png;base64," in page
    assert "A&lt;B" in page
    assert "A<B" not in page
    assert ">10:00<" in page  # New York hours
    assert "53.0 %" in page


def test_bids_and_asks_have_their_colours_and_an_empty_cell_is_clear() -> None:
    lots = np.zeros((2, 3, 4))
    lots[0, 2], lots[1, 0] = 10.0, 1.0
    pixels = _pixels(depth_png(lots))
    assert pixels.shape == (3, 4, 4)
    assert tuple(pixels[2, 0, :3]) == BID
    assert tuple(pixels[0, 0, :3]) == ASK
    assert (pixels[1, :, 3] == 0).all()
    assert pixels[2, 0, 3] > pixels[0, 0, 3] > 0
    assert (_pixels(depth_png(np.zeros((2, 2, 2))))[..., 3] == 0).all()
    with pytest.raises(ValueError, match="uint8 of shape"):
        png(np.zeros((2, 2, 3), np.uint8))


def test_a_night_without_them_has_no_such_section(tmp_path: Path) -> None:
    bare = promoted_night()
    assert information(bare) == books(bare) == label_forms(bare) == ""
    assert 'href="#books"' not in night_page(bare)
    full = _night()
    save_record(full, tmp_path / "record.json")
    page = night_page(load_record(tmp_path / "record.json"))
    assert page == night_page(full)
    assert 'href="#information"' in page
    alone = render_feature_page(full, tmp_path / "features.html").read_text()
    assert "What each feature says" in alone
    assert "Promotion" not in alone
