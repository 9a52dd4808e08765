"""Measurements, one file a subject. `python -m benchmarks` lists and runs them; docs/benchmarks.md explains them."""
