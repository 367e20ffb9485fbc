"""Somebody in the planted world who is going to be erased, and every place where they might be.

Their id stands in no other text, so that bytes on disk can be searched for it.
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from planted import START, planted_events

WHO, AS = "u5", "forgotten-5f3a@example.org"
REF = {"type": "user", "id": AS}
PATH = "/v1/entities/user/forgotten-5f3a%40example.org"


def events() -> list[dict[str, Any]]:
    """The planted world, one of whose people has a name that can be told from all others."""
    named = [_named(event) for event in planted_events()]
    return [*named, said("forgotten-age", "set_attributes", properties={"age": 77, "gender": "F"})]


def said(event_id: str, name: str, *, time: int = START + 40_000, **rest: Any) -> dict[str, Any]:
    """What is said of them alone."""
    return {
        "event_id": event_id,
        "event_name": name,
        "event_time": time,
        "action_source": "structure",
        "actor": REF,
        **rest,
    }


def places(folder: Path) -> list[str]:
    """The files in which their id stands, whether plain or packed."""
    return [str(file.relative_to(folder)) for file in _files(folder) if _holds(file)]


def _named(event: dict[str, Any]) -> dict[str, Any]:
    if event["actor"]["id"] != WHO:
        return event
    return {**event, "actor": REF, "event_id": event["event_id"].replace(WHO, AS)}


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in sorted(folder.rglob("*")) if file.is_file())


def _holds(file: Path) -> bool:
    content = file.read_bytes()
    needle = AS.encode()
    if needle in content:
        return True
    if file.suffix == ".parquet":  # its columns are packed
        import pyarrow.parquet as pq

        columns = pq.read_table(file).columns
        return any(AS in map(str, column.to_pylist()) for column in columns)
    return needle in _unpacked(content)


def _unpacked(content: bytes) -> bytes:
    """What zlib makes of every place where something packed may begin."""
    found, at = [], content.find(b"\x78\x01")
    while at >= 0:
        unpacker = zlib.decompressobj()
        with suppress(zlib.error):
            found.append(unpacker.decompress(content[at : at + 65536]))
        at = content.find(b"\x78\x01", at + 1)
    return b"".join(found)
