"""Leases for a table whose test has no Kafka: those of the embedded engine, in the test's state directory."""

from k2ctl.home import Home
from k2ctl.kafka.lease import LEASES, FileLease


def of_this_machine(table: str) -> FileLease:
    """The lease of a table, by its uuid."""
    return FileLease(Home.of_user(), f"{LEASES}.{table}")
