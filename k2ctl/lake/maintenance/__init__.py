"""Keeping the table young and clean, and telling how it is."""
