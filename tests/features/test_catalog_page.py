"""The catalogue's page is what the command writes."""

from pathlib import Path

from features.catalog_page import catalogue_page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_the_page_of_the_catalogue_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == catalogue_page(), "run `flowsense features page docs/features.md`"
