"""The benchmark suite: `tox run -e bench`, or `python -m benchmarks --row 7`."""
