"""What the figures were measured on."""

import os
import platform
from pathlib import Path
from typing import Final

import psutil

CPU_INFO: Final = Path("/proc/cpuinfo")


def machine_facts() -> tuple[tuple[str, str], ...]:
    """Processor, memory, system and Python of this machine, as they are read out."""
    return (
        ("processor", f"{processor()}, {os.cpu_count()} CPUs"),
        ("memory", f"{psutil.virtual_memory().total / 2**30:.1f} GiB"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", platform.python_version()),
    )


def processor() -> str:
    """The processor's name; where the system has none, its architecture."""
    try:
        lines = CPU_INFO.read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.machine()
