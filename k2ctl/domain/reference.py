"""The columns of the table `market_data.reference`."""

import pyarrow as pa

from k2ctl.domain.trade import DECIMAL_SCALE


def reference_schema() -> pa.Schema:
    """The columns of the table; each carries its Iceberg field id where Parquet looks for it."""
    decimal = pa.decimal128(18, DECIMAL_SCALE)
    columns = [
        ("symbol", pa.string()),
        ("exchange", pa.string()),
        ("asset_class", pa.string()),
        ("currency", pa.string()),
        ("sector", pa.string()),
        ("tick_size", decimal),
        ("lot_size", decimal),
        ("tier", pa.int32()),
        ("timestamp", pa.timestamp("us", "UTC")),
    ]
    return pa.schema(
        [
            pa.field(name, kind, nullable=False, metadata={"PARQUET:field_id": str(number)})
            for number, (name, kind) in enumerate(columns, 1)
        ]
    )
