"""What the machine's memory is.

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
