"""Local images under the names that `stack/compose.yaml` pins, made from the real programs without any registry."""
