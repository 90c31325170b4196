"""What was acknowledged, compared with what is stored."""
