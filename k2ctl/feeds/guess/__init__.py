"""A feed for a file or topic that nobody has described yet: guessed from names and values."""
