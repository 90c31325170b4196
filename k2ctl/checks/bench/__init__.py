"""Benchmarks: rates beside the baselines of the same run."""
