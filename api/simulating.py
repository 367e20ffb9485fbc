"""A simulated market into files: its events, how they are read, and beside them the truth.

Takes dials and a place, writes files, gives what was written and what the best ranker could reach;
never touches a graph. The events go in as anybody's do, by `graphsvc ingest`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields
from pathlib import Path
from time import monotonic
from typing import Any, Self

import numpy as np
import orjson
import pyarrow.parquet as pq

from api.errors import Invalid
from api.reading.mapping import Source
from api.reading.tables import format_of
from graphsvc.hints import meant
from graphsvc.simulate import (
    EVENT,
    MAPPING,
    NULLS,
    TRUTH,
    Bayes,
    Market,
    Rows,
    World,
    as_events,
    as_table,
    truth_table,
)

_CHUNK = 50_000


def world_of(seed: int, nulls: Sequence[str], dials: Sequence[str]) -> World:
    """A world of dials that are said as NAME=VALUE. Raises `Invalid`, and `WorldError`."""
    said: dict[str, Any] = {"seed": seed}
    known = [field.name for field in fields(World) if field.name != "seed"]
    for dial in dials:
        name, sign, value = dial.partition("=")
        if not sign:
            raise Invalid(f"--set should be NAME=VALUE, received {dial!r}")
        if name not in known:
            hint = meant(name, known) or ", and docs/simulator.md says where they are"
            raise Invalid(f"--set should name a dial of the world, received {name!r}{hint}")
        try:
            said[name] = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            wrong = f"--set {name} should be a number, true or false, received {value!r}"
            raise Invalid(wrong) from error
    for null in nulls:
        if null not in NULLS:
            raise Invalid(f"--null should be one of {', '.join(NULLS)}, received {null!r}")
        said[NULLS[null]] = False
    return World(**said)


def beside(to: Path) -> dict[str, Path]:
    """What is written beside the events, and where; the mapping, where they are a table."""
    stem = to.name
    for ending in (".parquet", ".pq", ".ndjson", ".jsonl"):
        stem = stem.removesuffix(ending)
    found = {"truth": to.with_name(f"{stem}.truth.parquet")}
    if _form(to) == "parquet":
        found["mapping"] = to.with_name(f"{stem}.mapping.toml")
    return found


def write(
    world: World,
    to: Path,
    *,
    events: int | None,
    days: float | None,
    tick: Callable[[int, int, str], None],
) -> dict[str, Any]:
    """Write a stream of a market; gives what was written, and the Bayes AUCs as a list `auc`."""
    market, bayes, began, count = Market(world), Bayes(), monotonic(), 0
    places = beside(to)
    with ExitStack() as stack:
        sink: _Table | _Lines
        sink = _Table(to, market) if _form(to) == "parquet" else _Lines(to, market)
        stack.enter_context(sink)
        # An empty table has the columns of one that is not.
        columns = truth_table(market, np.empty(0, dtype=TRUTH)).schema.with_metadata(
            {b"graphsvc.world": orjson.dumps(asdict(world))}
        )
        truths = stack.enter_context(pq.ParquetWriter(places["truth"], columns))
        for chunk in market.stream(events=events, days=days, chunk=_CHUNK):
            sink.add(chunk.events)
            truths.write_table(truth_table(market, chunk.truth))
            bayes.add(chunk.truth)
            count += len(chunk.events)
            tick(count, events or 0, "events")
    if "mapping" in places:
        places["mapping"].write_text(MAPPING, encoding="utf-8")
    return {
        "events": count,
        "seconds": round(monotonic() - began, 1),
        "file": str(to),
        **{name: str(place) for name, place in places.items()},
        "auc": [{"of": name, **one._asdict()} for name, one in bayes.figures().items()],
    }


class _Lines:
    """Lines of JSON."""

    def __init__(self, to: Path, market: Market) -> None:
        self._to, self._market = to, market

    def __enter__(self) -> Self:
        self._stream = self._to.open("wb")
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stream.close()

    def add(self, events: Rows) -> None:
        dumped = (
            orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
            for event in as_events(self._market, events)
        )
        self._stream.writelines(dumped)


class _Table:
    """Parquet, a row group per chunk."""

    def __init__(self, to: Path, market: Market) -> None:
        self._to, self._market = to, market

    def __enter__(self) -> Self:
        columns = as_table(self._market, np.empty(0, dtype=EVENT)).schema
        self._writer = pq.ParquetWriter(self._to, columns)
        return self

    def __exit__(self, *_raised: object) -> None:
        self._writer.close()

    def add(self, events: Rows) -> None:
        self._writer.write_table(as_table(self._market, events))


def _form(to: Path) -> str:
    """The format of parquet or ndjson that a name asks for. Raises `Invalid`."""
    form = format_of(to, Source())
    if form not in ("parquet", "ndjson") or to.name.lower().endswith(".gz"):
        raise Invalid(f"--to should be a .parquet, .ndjson or .jsonl file, received {to.name}")
    return form
