"""The memory of a consumer's process."""

import os
import subprocess
import sys

import pytest

LOOK = """
import k2ctl.memory
k2ctl.memory.keep_one_heap()
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "jemalloc"}, "jemalloc")]
)
def test_arrow_shares_the_heap_of_all_threads_unless_the_environment_says_otherwise(
    given: dict[str, str], expected: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"} | given
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == expected
