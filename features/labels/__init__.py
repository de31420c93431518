"""Labels: what the market did after a decision could have reached the venue. Offline only: they look ahead.

The default label is executable (R9). It begins where an order decided on the row would arrive, ends a horizon later, and
counts as a move only beyond half the spread at the decision plus the taker fee. The other forms are chosen by
``label.form`` in the settings; the anchored and the smoothed one are for comparison with the literature, because nobody
can trade them.
"""

from features.labels.comparison import compare_forms
from features.labels.persistence import LabelScore, score_label
from features.labels.quotes import QuotePath, quote_path
from features.labels.spec import DESCRIPTIONS, FORMS, LabelSpec, label_spec
from features.labels.table import LABEL_SCHEMA, executable_labels, label_classes, make_labels

__all__ = [
    "DESCRIPTIONS",
    "FORMS",
    "LABEL_SCHEMA",
    "LabelScore",
    "LabelSpec",
    "QuotePath",
    "compare_forms",
    "executable_labels",
    "label_classes",
    "label_spec",
    "make_labels",
    "quote_path",
    "score_label",
]
