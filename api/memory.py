"""What the machine's memory is, and how somebody spells a part of it.

Takes nothing or an option's text, gives bytes; decides nothing.
"""

import os
from argparse import ArgumentTypeError
from pathlib import Path

from pydantic import ByteSize, TypeAdapter, ValidationError

from graphsvc.wording import sentence

_PAGE = os.sysconf("SC_PAGE_SIZE")


def machine() -> int:
    """Memory of the machine, or of the container where it has less."""
    whole = _PAGE * os.sysconf("SC_PHYS_PAGES")
    bound = Path("/sys/fs/cgroup/memory.max")
    if bound.is_file() and (text := bound.read_text().strip()).isdigit():
        return min(whole, int(text))
    return whole


def size(text: str) -> int:
    """The bytes that an option such as `--memory 8GiB` means. Raises `ArgumentTypeError`."""
    try:
        return int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError as error:
        raise ArgumentTypeError(sentence(error.errors()[0])) from error
