"""Files of trades, compressed or not, on a disk or in an object store: as one stream in the order of their times."""
