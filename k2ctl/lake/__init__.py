from k2ctl.lake.pyiceberg_overrides.later import load_later

load_later()
