"""k2ctl beside what people run in its place: the same records into an Iceberg table, by each, one after the other.

`python -m tests.peers N PEERS [TESTS]`; what it compares and how is in `tests/README.md`.
"""
