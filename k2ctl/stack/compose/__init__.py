"""Compose files: read into frozen models, checked key by key, and written out resolved."""
