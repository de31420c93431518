"""Benchmarks: one function a name, each asserts its end state; peers are measured in the same run."""

import marketdata as marketdata
