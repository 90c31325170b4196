"""Benchmarks: rates beside the ceilings of the same run."""
