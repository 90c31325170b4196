"""The trade, defined once: SBE template → numpy dtype → Arrow columns; topic names."""
