"""Measurements of this package against raw Redis commands; ``python -m benchmarks``."""
