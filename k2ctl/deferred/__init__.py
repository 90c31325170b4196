"""Deferred trades: the decision to defer them, their spill files, their backfill, and what is outstanding."""
