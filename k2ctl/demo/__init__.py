"""The demo: the platform's promise, played in a stack of its own and checked on live figures."""
