"""The worked example of ``docs/venues.md`` runs as it stands there, and the page names every venue."""

import json
import re
from pathlib import Path
from types import ModuleType

from marketdata.codecs.catalog import VENUES
from marketdata.codecs.decimals import inferred_instrument
from marketdata.codecs.dialect import DialectCodec
from marketdata.events import ASK, BID, CLEAR, LEVEL, TRADE
from marketdata.frames import RAISE, frame_batch

PAGE = Path(__file__).resolve().parents[2] / "docs" / "venues.md"


def test_the_worked_example_of_a_new_venue_runs() -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code
    example = ModuleType("example")
    exec(compile(code[1], str(PAGE), "exec"), example.__dict__)
    codec = DialectCodec(example.Example(), {"BTC-USD": inferred_instrument("BTC-USD", 0, "example", 0.5, 1.0)}, RAISE)

    def book(n: int, full: bool, b: list[list[str]], a: list[list[str]]) -> dict[str, object]:
        return {"ch": "book", "sym": "BTC-USD", "n": n, "full": full, "b": b, "a": a, "t": 1_700_000_000_000}

    fill = {"ch": "fill", "sym": "BTC-USD", "id": 3, "px": "100.5", "sz": "1", "taker": "buy", "t": 1_700_000_000_001}
    sent = [
        book(6, True, [["100.0", "5"]], [["100.5", "1"]]),
        book(7, False, [["99.5", "2"]], []),
        fill,
        book(9, False, [], []),
    ]
    _, decoded = codec.step(
        codec.init(), frame_batch([(k, json.dumps(frame).encode()) for k, frame in enumerate(sent)])
    )
    got = [(int(e["action"]), int(e["side"]), int(e["price_units"]), int(e["size_lots"])) for e in decoded.events]
    assert got == [
        (CLEAR, 0, 0, 0),
        (LEVEL, BID, 200, 5),
        (LEVEL, ASK, 201, 1),
        (LEVEL, BID, 199, 2),
        (TRADE, ASK, 201, 1),
        (CLEAR, 0, 0, 0),
    ]
    assert decoded.gaps[0][2:] == (7, 8)
    assert decoded.wants_snapshot == ("BTC-USD",)


def test_the_page_names_every_venue() -> None:
    text = PAGE.read_text()
    assert [venue for venue in VENUES if text.count(f"`{venue}`") < 2] == []
