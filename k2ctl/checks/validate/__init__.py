"""The platform's targets, measured now."""
