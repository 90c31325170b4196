"""What was acknowledged, held to what is there."""
