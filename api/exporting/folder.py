"""A folder that appears when it is complete.

Takes a path, gives a folder beside it to write into; never touches one that holds anything.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api.errors import Invalid


@contextmanager
def fresh(to: Path) -> Iterator[Path]:
    """Fill a folder that is then renamed to `to`; gone if the block raises. Raises `Invalid`."""
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise Invalid(f"--to should be a folder that is empty or not there, received {str(to)!r}")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    except OSError as error:
        raise Invalid(f"--to should be a folder that can be written: {error.strerror}") from error
    try:
        yield beside
        beside.chmod(0o755)
        beside.replace(to)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
