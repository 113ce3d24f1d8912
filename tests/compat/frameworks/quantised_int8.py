"""Quantised: int8 weights of bitsandbytes

repos: int8
packages: bitsandbytes
"""

from _quantised import observe

observe("tiny/int8")
