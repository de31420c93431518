"""Every form of the label on the same rows: what a night and ``flowsense features report`` show side by side."""

import numpy as np

from features.labels.persistence import LabelScore, happened_move, score_label
from features.labels.quotes import quote_path
from features.labels.spec import FORMS, label_spec
from features.labels.table import label_classes, make_labels
from features.rows import FeatureRows
from marketdata.clock import Session
from marketdata.events import EventArray
from marketdata.instruments import Instrument
from marketdata.settings import LabelSettings, LatencySettings
from marketdata.taker_cost import TakerCost


def compare_forms(
    rows: FeatureRows,
    events: EventArray,
    instrument: Instrument,
    label: LabelSettings,
    latency: LatencySettings,
    session: Session,
    cost: TakerCost | None = None,
) -> tuple[LabelScore, ...]:
    """Return class shares and persistence scores of every form, on the same rows and with the same numbers."""
    ts_recv = rows.key("ts_recv")
    found = []
    for form in FORMS:
        frame = make_labels(label_spec(label, latency, form), rows, events, instrument, session, cost)
        y, ts_known = frame["y"].to_numpy(), frame["ts_known"].to_numpy()
        happened = None
        if form == "smoothed" and len(events):
            past = happened_move(quote_path(events, label.max_gap_ns), ts_recv, label.horizon_ns)
            happened = label_classes(past, np.ascontiguousarray(frame["threshold_units"].to_numpy()))
        found.append(score_label(form, y, ts_recv, ts_known, happened))
    return tuple(found)
