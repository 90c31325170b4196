"""k2ctl: the control plane of K2, trades from Kafka to Iceberg, exactly once, queried as one table."""

__version__ = "0.1.0"
