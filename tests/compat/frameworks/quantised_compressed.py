"""Quantised: int8 weights of compressed-tensors

repos: compressed
packages: compressed-tensors
"""

from _quantised import observe

observe("tiny/compressed")
