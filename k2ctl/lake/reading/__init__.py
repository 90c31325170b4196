"""The table read: pinned, followed, scanned."""
