"""Lines: feeds of one market on topics of their own, compared trade by trade."""
