"""The night's report: one self-contained HTML page that opens offline."""

import marketdata as marketdata
