"""Files as rows: numbers that an editor shows, cells that are wrong, files that cannot be read."""

import gzip
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from api.errors import FileUnreadable, MappingInvalid
from api.reading.files import EventFile
from api.reading.lines import CHUNK_ROWS, Bounds, LineReader, Unmade
from api.reading.mapping import load_mapping
from graphsvc.ingest import Verdict

PLAIN = """
[[events]]
event_name = "click"
event_id = "{user}"
event_time = { column = "at" }
action_source = "onsite"
actor = { type = "user", id = "{user}" }
object = { type = "film", id = "{film}" }
"""


def mapping_of(folder: Path, text: str) -> Any:
    (folder / "m.toml").write_text(text, encoding="utf-8")
    return load_mapping(folder / "m.toml")


def rows_of(file: Path, mapping: Any = None) -> list[tuple[int, Any]]:
    return [row for rows in EventFile(file, mapping).chunks() for row in rows]


def said(rows: list[tuple[int, Any]]) -> list[tuple[int, str]]:
    """Row numbers with the id of the event, or the field that was wrong."""
    return [(n, v.verdict.field if isinstance(v, Unmade) else v["event_id"]) for n, v in rows]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_have_the_numbers_of_an_editor(tmp_path: Path, packed: bool) -> None:
    text = "user,film,at\na,f,1\nb,f\nc,f,3,9\nd,f,x\ne,f,5\n"
    file = tmp_path / ("t.csv.gz" if packed else "t.csv")
    file.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    rows = rows_of(file, mapping_of(tmp_path, PLAIN))
    assert sorted(said(rows)) == [(2, "a"), (3, "row"), (4, "row"), (5, "event_time"), (6, "e")]


def test_what_no_event_could_be_made_of_is_kept_as_it_was_read(tmp_path: Path) -> None:
    text = PLAIN + PLAIN.replace('"click"', '"hide"').replace("{film}", "{other}")
    file = tmp_path / "t.csv"
    file.write_text("user,film,other,unread,at\na,007,g,x,soon\nb,f\n")
    rows = rows_of(file, mapping_of(tmp_path, text))
    short, first, second = (value for _, value in rows)
    assert (short.row, short.entry) == ("b,f", None)
    assert first.row == second.row == {"user": "a", "at": "soon", "film": "007", "other": "g"}
    assert first.entry == {"number": 1, "event_name": "click"}
    assert second.entry == {"number": 2, "event_name": "hide"}
    (tmp_path / "e.ndjson").write_bytes(b'{"a": 1\r\n\xff\n')
    assert [value.row for _, value in rows_of(tmp_path / "e.ndjson")] == ['{"a": 1', "\ufffd"]


def test_numbers_hold_over_blocks(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    n = 60_000  # several blocks of 1 MiB, some with broken rows
    lines = [f"u{i},f,{i}{'' if i % 7919 else ',9'}" for i in range(2, n)]
    file.write_text("user,film,at\n" + "\n".join(lines) + "\n")
    assert file.stat().st_size < 2**20 * 2
    rows = rows_of(file, mapping_of(tmp_path, PLAIN))
    assert len(rows) == n - 2
    wrong = {number for number, value in rows if isinstance(value, Unmade)}
    assert wrong == {i for i in range(2, n) if i % 7919 == 0}
    for number, value in rows:
        assert number in wrong or value["event_id"] == f"u{number}"


def test_cells_keep_their_letters(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes('user,film,at\n007,"a, ""b""\nc",1\n+1e3,NULL,2\nü,NaN,3\n'.encode())
    rows = rows_of(file, mapping_of(tmp_path, PLAIN))
    assert [(v["actor"]["id"], v["object"]["id"]) for _, v in rows] == [
        ("007", 'a, "b"\nc'),
        ("+1e3", "NULL"),
        ("ü", "NaN"),
    ]


def test_tabs_leave_quotes_alone(tmp_path: Path) -> None:
    file = tmp_path / "t.tsv"
    file.write_text('user\tfilm\tat\n"a\tb"\t1\n')
    ((_, event),) = rows_of(file, mapping_of(tmp_path, PLAIN))
    assert (event["actor"]["id"], event["object"]["id"]) == ('"a', 'b"')


def test_a_cell_that_is_no_utf8_rejects_its_row_alone(tmp_path: Path) -> None:
    file, parquet = tmp_path / "t.csv", tmp_path / "t.parquet"
    file.write_bytes(b"user,film,at\na,f,1\nJos\xe9,\xc3\xa9,2\nc,f,3\n,f,4\n")
    cells = pa.array([b"a", b"Jos\xe9", b"c", None], pa.binary())
    text = pa.Array.from_buffers(pa.string(), len(cells), cells.buffers())
    films = pa.array(["f", "é", "f", "f"])
    pq.write_table(pa.table({"user": text, "film": films, "at": ["1", "2", "3", "4"]}), parquet)
    for path in (file, parquet):
        values = [value for _, value in rows_of(path, mapping_of(tmp_path, PLAIN))]
        assert [isinstance(value, Unmade) for value in values] == [False, True, False, False]
        assert values[2]["actor"]["id"] == "c"
        assert "actor" not in values[3]
        wrong = values[1]
        assert wrong.row == {"user": "Jos\\xe9", "film": "é", "at": "2"}
        says = r"column user: should be UTF-8, received 'Jos\xe9'"
        expected = Verdict(None, "rejected", "invalid", "column user", says, r"Jos\xe9")
        assert wrong.verdict == expected
        assert wrong.entry == {"number": 1, "event_name": "click"}


def test_a_condition_on_a_cell_that_is_no_utf8_is_not_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"user,film,at,kind,note\na,f,1,\xe9t\xe9,x\nb,f,2,hiver,\xe9\nc,f,3,no,x\n")
    text = PLAIN + 'when = { column = "kind", in = ["été", "hiver"] }\n'
    other = PLAIN.replace('"click"', '"hide"') + 'properties = { note = "{note}" }\n'
    rows = rows_of(file, mapping_of(tmp_path, text + other))
    assert said(rows) == [(2, "column kind"), (2, "a"), (3, "b"), (3, "column note"), (4, "c")]


def test_a_broken_row_that_is_no_utf8_takes_nothing_along(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b"user,film,at,n\xe9\na,f,1,\nJos\xe9,\xc3\xa9\nc,f,3,\n")
    rows = rows_of(file, mapping_of(tmp_path, PLAIN))
    assert sorted(said(rows)) == [(2, "a"), (3, "row"), (4, "c")]
    assert [v.row for _, v in rows if isinstance(v, Unmade)] == ["Jos\\xe9,é"]


def test_an_empty_cell_is_nothing(tmp_path: Path) -> None:
    text = (
        PLAIN + 'value = { column = "price", as = "number" }\n[events.properties]\nn = "{note}"\n'
    )
    file = tmp_path / "t.csv"
    file.write_text("user,film,at,price,note\na,f,1,,\nb,,2,1.5,x\n")
    (_, first), (_, second) = rows_of(file, mapping_of(tmp_path, text))
    assert "value" not in first
    assert "properties" not in first
    assert "object" not in second
    assert (second["value"], second["properties"]) == (1.5, {"n": "x"})


@pytest.mark.parametrize(
    ("moment", "cell", "expected"),
    [
        ('unit = "ms"', "1700000000999", 1_700_000_000),
        ('unit = "us"', "1700000000999999", 1_700_000_000),
        ('unit = "s"', "1700000000.9", 1_700_000_000),
        ('format = "iso"', "2023-11-14T22:13:20Z", 1_700_000_000),
        ('format = "iso"', "2023-11-14 22:13:20.9", 1_700_000_000),
        ('format = "%d.%m.%Y"', "01.01.1970", 0),
        ('format = "iso"', "soon", None),
        ('unit = "s"', "1_000", None),
        ('unit = "s"', "nan", None),
    ],
)
def test_times(tmp_path: Path, moment: str, cell: str, expected: int | None) -> None:
    text = PLAIN.replace('column = "at"', f'column = "at", {moment}')
    file = tmp_path / "t.csv"
    file.write_text(f"user,film,at\na,f,{cell}\n")
    ((_, value),) = rows_of(file, mapping_of(tmp_path, text))
    if expected is None:
        assert value.verdict.field == "event_time"
    else:
        assert value["event_time"] == expected


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("at_least = 4", ["4", "5"]),
        ("at_most = 3", ["1"]),
        ("at_least = 2, at_most = 4", ["4"]),
        ("is = 4", ["4"]),
        ('is = "x"', ["x"]),
        ("not = 4", ["1", "5", "x"]),
        ('in = ["x", 5]', ["5", "x"]),
    ],
)
def test_conditions(tmp_path: Path, condition: str, kept: list[str]) -> None:
    text = PLAIN + f'when = {{ column = "film", {condition} }}\n'
    file = tmp_path / "t.csv"
    file.write_text("user,film,at\n" + "".join(f"u,{x},1\n" for x in ("1", "4", "5", "x", "")))
    rows = rows_of(file, mapping_of(tmp_path, text))
    assert [value["object"]["id"] for _, value in rows] == kept


def test_an_id_of_its_own_is_the_same_each_time(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("user,film,at\na,f,1\nb,f,1\na,f,1\n")
    mapping = mapping_of(tmp_path, PLAIN.replace('event_id = "{user}"\n', ""))
    ids = [value["event_id"] for _, value in rows_of(file, mapping)]
    assert ids[0] == ids[2] != ids[1]
    assert ids == [value["event_id"] for _, value in rows_of(file, mapping)]


def test_parquet_in_many_blocks(tmp_path: Path) -> None:
    n = 2 * CHUNK_ROWS + 7
    table = pa.table(
        {"user": list(range(n)), "film": [1.0] * n, "at": pa.array(range(n), pa.timestamp("ns"))}
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1000)
    file = EventFile(tmp_path / "t.parquet", mapping_of(tmp_path, PLAIN))
    rows = [row for rows in file.chunks() for row in rows]
    assert [number for number, _ in rows] == list(range(1, n + 1))
    assert rows[-1][1]["actor"]["id"] == str(n - 1)
    assert rows[-1][1]["object"]["id"] == "1"
    assert rows[-1][1]["event_time"] == 0
    assert (file.done, file.total, file.unit) == (n, n, "rows")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("events = 3", "events"),
        ("", "events"),
        ("[[events]]\nname = 'x'", "events.0"),
        (PLAIN + "extra = 1\n", "events.0.extra is not a key"),
        (PLAIN.replace('"{user}"', '"{user"', 1), "events.0.event_id"),
        (PLAIN.replace('"{user}"', '"{}"', 1), "should name columns in braces"),
        (PLAIN.replace('column = "at"', 'column = "at", unit = "h"'), "events.0.event_time.unit"),
        (PLAIN + "when = { column = 'x' }\n", "should have one of is"),
        ("[source]\ndelimiter = ';;'\n" + PLAIN, "source.delimiter"),
        ("no toml", "is not TOML"),
        ("defaults = 3\n" + PLAIN, "defaults should be a table"),
    ],
)
def test_a_mapping_that_is_wrong_says_where(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(MappingInvalid, match=r"m\.toml") as error:
        mapping_of(tmp_path, text)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (PLAIN.replace("events", "evnts"), "evnts is not a key of a mapping; did you mean events?"),
        (PLAIN.replace("object", "objct"), "events.0.objct is not a key of a mapping; did you mea"),
        ("[default]\n" + PLAIN, "default is not a key of a mapping; did you mean defaults?"),
        ("[sorce]\n" + PLAIN, "sorce is not a key of a mapping; did you mean source?"),
        (
            "[source]\nformt = 'csv'\n" + PLAIN,
            "source.formt is not a key of a mapping; did you mea",
        ),
        (
            PLAIN.replace("type", "typ", 1),
            "events.0.actor.typ is not a key of a mapping; did you me",
        ),
        (
            PLAIN.replace('column = "at"', 'colum = "at"'),
            "events.0.event_time.colum is not a key of a mapping; did you mean column?",
        ),
        (
            PLAIN + 'when = { column = "user", att_least = 3 }\n',
            "events.0.when.att_least is not a key of a mapping; did you mean at_least?",
        ),
        (
            PLAIN + 'when = [{ column = "user", iss = 3 }]\n',
            "events.0.when.0.iss is not a key of a mapping; did you mean is?",
        ),
        (
            PLAIN + 'properties.object = { column = "user", als = "text" }\n',
            "events.0.properties.object.als is not a key of a mapping; did you mean as?",
        ),
        (
            "[defaults]\nactoor = { type = 'user' }\n" + PLAIN + PLAIN,
            "m.toml: defaults.actoor is not a key of a mapping; did you mean actor?",
        ),
        (
            PLAIN + "zzz = 1\nevent_nam = 2\n",
            "events.0.zzz is not a key of a mapping, events.0.event",
        ),
    ],
)
def test_a_key_that_no_mapping_has_is_named_first(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(MappingInvalid) as error:
        mapping_of(tmp_path, text)
    assert says in str(error.value)
    assert " missing" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    mapping = mapping_of(tmp_path, PLAIN)
    for name, content, says in (
        ("a.parquet", b"no parquet", "cannot be read"),
        ("b.csv", b"user,film\n1,2\n", "has no column 'at'; it has user, film"),
        ("c.csv.gz", b"no gzip", "cannot be read"),
        ("d.csv", b"", "has no column"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileUnreadable, match=says):
            rows_of(tmp_path / name, mapping)
    with pytest.raises(FileUnreadable, match="--mapping"):
        rows_of(tmp_path / "b.csv")
    (tmp_path / "e.ndjson").write_bytes(b"{}")
    with pytest.raises(FileUnreadable, match="events already"):
        rows_of(tmp_path / "e.ndjson", mapping)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"events": [{"event_id": "a"}, {"event_id": "b"}]}, r"a body of POST .*'\.events\[\]'"),
        ([{"event_id": "a"}, {"event_id": "b"}], r"one value of JSON over many lines; .*'\.\[\]'"),
        ({"event_id": "a", "actor": {"id": "u"}}, "one value of JSON over many lines; `jq -c [.] "),
    ],
)
@pytest.mark.parametrize("begin", [b"", b"\xef\xbb\xbf"])
def test_one_value_over_many_lines_is_no_file_of_events(
    tmp_path: Path, value: Any, says: str, begin: bytes
) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(begin + orjson.dumps(value, option=orjson.OPT_INDENT_2) + b"\n")
    with pytest.raises(FileUnreadable, match=f"body.json should hold one event per line, .*{says}"):
        EventFile(file)


def test_a_body_in_one_long_line_is_no_file_of_events(tmp_path: Path) -> None:
    events = [{"event_id": str(n), "event_name": "x" * 100} for n in range(3000)]
    (tmp_path / "body.json").write_bytes(orjson.dumps({"events": events}))
    with pytest.raises(FileUnreadable, match="a body of POST /v1/events"):
        EventFile(tmp_path / "body.json")


@pytest.mark.parametrize("first", [b"{", b"", b'{"event_id": ', b"[", b'{"events": []}'])
def test_lines_of_which_the_first_is_wrong_are_still_lines(tmp_path: Path, first: bytes) -> None:
    lines = [first, b'{"event_id": "a"}', b'{"event_id": "b"}']
    (tmp_path / "e.ndjson").write_bytes(b"\n".join(lines))
    assert said(rows_of(tmp_path / "e.ndjson"))[-2:] == [(2, "a"), (3, "b")]
    (tmp_path / "one.ndjson").write_bytes(b"\n".join(lines[:2]) if not first else lines[1])
    assert [event for _, event in said(rows_of(tmp_path / "one.ndjson"))] == ["a"]


def test_lines_until_the_file_breaks_off(tmp_path: Path) -> None:
    lines = b"".join(orjson.dumps({"event_id": str(n)}) + b"\n" for n in range(4000))
    (tmp_path / "e.ndjson.gz").write_bytes(gzip.compress(lines)[:-9])
    taken: list[int] = []
    chunks = EventFile(tmp_path / "e.ndjson.gz").chunks()
    with pytest.raises(FileUnreadable, match="breaks off"):
        taken.extend(number for rows in chunks for number, _ in rows)
    assert taken == list(range(1, len(taken) + 1))
    assert len(taken) > CHUNK_ROWS


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pieces_of_any_size_give_the_same_rows(size: int) -> None:
    data = b'{"a":1}\n\n  \nxx\r\n' + b"y" * 30 + b'\n"end"'
    reader = LineReader(gzipped=False, bounds=Bounds(longest_line=20, chunk_rows=2))
    chunks = [c for i in range(0, len(data), size) for c in reader.feed(data[i : i + size])]
    chunks += reader.finish()
    assert all(len(chunk) <= 2 for chunk in chunks)
    rows = [row for chunk in chunks for row in chunk]
    assert [number for number, _ in rows] == [1, 4, 5, 6]
    assert rows[0][1] == {"a": 1}
    assert [rows[1][1].verdict.code, rows[2][1].verdict.code] == ["invalid", "too_large"]
    assert rows[3][1] == "end"
