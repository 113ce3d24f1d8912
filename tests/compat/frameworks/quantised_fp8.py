"""Quantised: float8 weights, dequantised on a CPU

repos: fp8
"""

from _quantised import observe

observe("tiny/fp8")
