"""The SELECT of a feed, and its rows as trades."""
