"""Whether a file may be written where somebody wants it.

Takes the place and what the same command reads, gives the reason against it; never touches either.
"""

import os
from collections.abc import Iterable
from pathlib import Path


def unfit(target: Path, read: Iterable[Path]) -> str | None:
    """Why nothing can be written there, if so: such as that it is a file to `read`, or in one."""
    if target.is_dir():
        return f"should be a file, received the folder {target}"
    folder = target.parent
    if not folder.is_dir():
        return f"should lie in a folder that is there, received {target}"
    if not os.access(target if target.exists() else folder, os.W_OK):
        return f"should be a file that can be written, received {target}"
    if target.is_file():  # not a terminal or a pipe, which may well be both
        for one in read:
            if one.exists() and (target.samefile(one) or folder.samefile(one)):
                return f"should be another file than {one}, which is read, received {target}"
    return None
