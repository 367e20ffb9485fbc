"""The file that rows go to which were not taken: `graphsvc ingest --rejects`.

Takes a path, gives a sink that can be read at any time; never touches what is read or what stood
there before, until there is something to replace it.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from api.errors import Invalid
from api.jsontext import json_of


class Rejects:
    """Lines of JSON in a file, if one is wanted. Raises `Invalid` if it cannot be written.

    What an earlier run left there stays until the first line, or until this run is through.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def add(self, line: dict[str, Any]) -> None:
        """Write a line; it can be read after `flush`."""
        if self._path is None:
            return
        try:
            self._opened(self._path).write(json_of(line) + b"\n")
        except OSError as error:
            raise self._unwritable(error) from error

    def flush(self) -> None:
        """Let all lines be read, whatever becomes of this process."""
        if self._file is not None:
            try:
                self._file.flush()
            except OSError as error:
                raise self._unwritable(error) from error

    def _opened(self, path: Path) -> BinaryIO:
        if self._file is None:
            self._file = path.open("wb")
        return self._file

    def _unwritable(self, error: OSError) -> Invalid:
        return Invalid(f"--rejects {self._path} cannot be written: {error.strerror}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        try:
            if self._path is not None and kind is None:
                self._opened(self._path)  # nothing was rejected: what stood there is over
            if self._file is not None:
                self._file.close()
        except OSError as error:
            if kind is None:
                raise self._unwritable(error) from error
