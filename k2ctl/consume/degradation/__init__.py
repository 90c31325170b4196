"""Step 2: the pressure on a consumer, the level that it asks for, and when a better level may be entered again."""
