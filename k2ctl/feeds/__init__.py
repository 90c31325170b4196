"""Foreign records become trades."""
