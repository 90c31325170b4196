"""Step 3: which trades were seen before, and how that is remembered, saved and restored."""
