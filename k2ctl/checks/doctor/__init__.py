"""`k2ctl doctor`: what is wrong with this machine, the stack on it and its lake; each with what helps."""
