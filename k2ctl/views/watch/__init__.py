"""The screen of `k2ctl watch`: pure functions of an overview, its history and what a person chose by keys."""
