"""What the machine's memory is, and how much of it this process has.

Takes nothing, gives bytes; decides nothing.
"""

import os
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def machine() -> int:
    """Memory of the machine, or of the container where it has less."""
    whole = _PAGE * os.sysconf("SC_PHYS_PAGES")
    bound = Path("/sys/fs/cgroup/memory.max")
    if bound.is_file() and (text := bound.read_text().strip()).isdigit():
        return min(whole, int(text))
    return whole


def resident() -> int:
    """Memory that this process has now; 0 where the system does not tell."""
    told = Path("/proc/self/statm")
    return _PAGE * int(told.read_text().split()[1]) if told.is_file() else 0
