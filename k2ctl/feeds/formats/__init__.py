"""Formats of records: their bytes as columns."""
