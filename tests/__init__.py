"""The tests, in processes with one heap for all threads, as commands that consume have."""

from k2ctl.memory import keep_one_heap

keep_one_heap()
