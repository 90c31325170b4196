"""Foreign records and files as trades: a feed is a SELECT."""
