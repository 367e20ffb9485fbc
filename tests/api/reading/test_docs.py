"""The examples of docs/ingest.md do what it says: each table becomes the events below it."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.reading.files import EventFile
from api.reading.mapping import load_mapping
from graphsvc.ingest import Rules, prepare
from graphsvc.schema import load_schema

DOC = Path(__file__).resolve().parents[3] / "docs/ingest.md"
BLOCKS = re.findall(
    r"```(csv|tsv|parquet)\n(.*?)```.*?```toml\n(.*?)```.*?```ndjson\n(.*?)```",
    DOC.read_text(),
    re.DOTALL,
)


def write(file: Path, kind: str, text: str) -> None:
    if kind != "parquet":
        file.write_text(text, encoding="utf-8")
        return
    rows: list[dict[str, Any]] = [orjson.loads(line) for line in text.splitlines()]
    for row in rows:
        row["at"] = datetime.fromisoformat(row["at"])
    pq.write_table(pa.Table.from_pylist(rows), file)


def test_there_is_one_of_each() -> None:
    assert [kind for kind, *_ in BLOCKS] == ["csv", "tsv", "parquet"]


@pytest.mark.parametrize(("kind", "table", "mapping", "events"), BLOCKS, ids=lambda text: text[:3])
def test_a_table_becomes_these_events(
    tmp_path: Path, kind: str, table: str, mapping: str, events: str
) -> None:
    (tmp_path / "mapping.toml").write_text(mapping, encoding="utf-8")
    write(tmp_path / f"table.{kind}", kind, table)
    file = EventFile(tmp_path / f"table.{kind}", load_mapping(tmp_path / "mapping.toml"))
    made = [event for rows in file.chunks() for _, event in rows]
    assert made == [orjson.loads(line) for line in events.splitlines()]
    batch = prepare(load_schema("film"), made, now=1_767_225_600, rules=Rules(backfill=True))
    assert batch.verdicts == [None] * len(made), "nothing is wrong with any of them"
