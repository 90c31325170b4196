"""Step 4: each symbol's sequence numbers followed, handed over, rebuilt, and reported on."""
