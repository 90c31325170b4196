"""Sequence numbers: channels, gaps, shared state, its rebuilding, and the gap report. One definition of a gap."""
