"""What the machine's memory is, what of it is free, and how somebody spells a part of it.

Takes nothing or an option's text, gives bytes; decides nothing.
"""

import os
from argparse import ArgumentTypeError
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from graphsvc.wording import sentence

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CGROUP = Path("/sys/fs/cgroup")


def machine() -> int:
    """Memory of the machine, or of the container where it has less."""
    whole = _PAGE * os.sysconf("SC_PHYS_PAGES")
    bound = _bound()
    return whole if bound is None else min(whole, bound)


def free() -> int:
    """Memory that could be taken now, of the machine or of the container where that has less."""
    told = Path("/proc/meminfo")
    lines = told.read_text().splitlines() if told.is_file() else []
    there = [int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:")]
    left = there[0] if there else _PAGE * os.sysconf("SC_AVPHYS_PAGES")
    bound, used = _bound(), _CGROUP / "memory.current"
    if bound is None or not used.is_file():
        return left
    # What files have left in memory is given back when it is wanted.
    kept = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
    taken = int(used.read_text()) - int(kept.get("inactive_file", 0))
    return min(left, max(0, bound - taken))


def _bound() -> int | None:
    """What the container may have; None where nothing bounds it."""
    bound = _CGROUP / "memory.max"
    text = bound.read_text().strip() if bound.is_file() else ""
    return int(text) if text.isdigit() else None


def size(text: str) -> int:
    """The bytes that an option such as `--memory 8GiB` means. Raises `ArgumentTypeError`."""
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise ArgumentTypeError(sentence(error.errors()[0])) from error
