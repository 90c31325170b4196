"""Step 2: what presses, the level that it asks for, and what the level does with each trade."""
