"""A bulk stream byte by byte, as no HTTP library sends it."""

import socket
from typing import Any, Self

import orjson

from api.routes.bulk import PATH


class Raw:
    """A request whose body and answer are under way at the same time, byte by byte."""

    def __init__(self, trained: Any, *headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", trained.settings.port), timeout=20)
        head = (
            f"POST {PATH}?backfill=true HTTP/1.1",
            "Host: here",
            f"Authorization: Bearer {trained.key}",
            "Transfer-Encoding: chunked",
            *headers,
        )
        self._socket.sendall("\r\n".join((*head, "", "")).encode())
        self._file = self._socket.makefile("rb")
        self._begun = False
        self._lines: list[bytes] = []

    def part(self, data: bytes) -> None:
        self._socket.sendall(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def line(self) -> Any:
        if not self._begun:
            assert b"200" in self._file.readline()
            while self._file.readline() != b"\r\n":
                pass
            self._begun = True
        while not self._lines:
            size = int(self._file.readline(), 16)
            self._lines += self._file.read(size).splitlines()
            self._file.readline()
        return orjson.loads(self._lines.pop(0))

    def ended(self) -> bool:
        """Whether the answer ends here, as it should, and not just the connection."""
        return self._file.readline() == b"0\r\n"

    def close(self) -> None:
        self._file.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
