"""POST /v1/events/bulk: lines in, verdicts out, whatever the stream or its client does."""

import gzip
import itertools
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import pytest
from planted import START, click
from raw_stream import Raw
from running import eventually

from api.reading.lines import LONGEST_LINE
from api.routes.bulk import MOST_STREAMS, PATH

_fresh = itertools.count()


@pytest.fixture
def tag() -> str:
    """A prefix for ids that no other test uses."""
    return f"bulk{next(_fresh)}"


def lines_of(tag: str, n: int, *, first: int = 0) -> bytes:
    events = [click(f"{tag}-u", "d1", START + i, f"{tag}-{i}") for i in range(first, first + n)]
    return b"".join(orjson.dumps(event) + b"\n" for event in events)


def send(http: httpx.Client, body: bytes, *, headers: dict[str, str] = {}, **params: str) -> Any:  # noqa: B006
    answer = http.post(PATH, content=body, headers=headers, params={"backfill": "true"} | params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    *verdicts, last = [orjson.loads(line) for line in answer.content.splitlines()]
    return verdicts, last["summary"]


def clicks_of(http: httpx.Client, tag: str) -> int:
    answer = http.get(f"/v1/entities/user/{tag}-u")
    return answer.json()["counters"]["click"] if answer.status_code == 200 else 0


def test_each_line_has_its_verdict(http: httpx.Client, tag: str) -> None:
    good = lines_of(tag, 2)
    other = orjson.dumps(click(f"{tag}-u", "d2", START, f"{tag}-0"))
    body = b"\xef\xbb\xbf" + good + b"\r\n \n" + b"{broken\n" + good + other + b"\n[1]\n7"
    verdicts, summary = send(http, body)
    assert [(v["line"], v["status"]) for v in verdicts] == [
        (1, "accepted"),
        (2, "accepted"),
        # lines 3 and 4 are empty
        (5, "rejected"),
        (6, "duplicate"),
        (7, "duplicate"),
        (8, "conflict"),
        (9, "rejected"),
        (10, "rejected"),
    ]
    assert verdicts[0] == {"line": 1, "event_id": f"{tag}-0", "status": "accepted"}
    assert verdicts[2]["field"] == "line"
    assert "JSON" in verdicts[2]["message"]
    assert summary == {
        "accepted": 2,
        "duplicate": 2,
        "conflict": 1,
        "rejected": 3,
        "complete": True,
    }
    assert clicks_of(http, tag) == 2


def test_what_belongs_to_the_other_route_is_told_so(http: httpx.Client, tag: str) -> None:
    one, two = lines_of(tag, 2).splitlines()
    batch = b'{"events":[%s]}' % one
    pretty = b"{\n"
    verdicts, _ = send(http, b"\n".join([one, batch, one + two, pretty]))
    [_, of_batch, of_lost, of_pretty] = verdicts
    assert {v["field"] for v in verdicts[1:]} == {"line"}
    assert "the body of POST /v1/events; here each line is one event" in of_batch["message"]
    assert f"begins at column {len(one) + 1}; line breaks" in of_lost["message"]
    assert "--data-binary" in of_lost["message"]
    assert "each line is one event" in of_pretty["message"]
    lost = b"".join([one] * (LONGEST_LINE // len(one) + 1))
    assert "--data-binary" in send(http, lost)[0][0]["message"]


def test_old_events_need_a_backfill(http: httpx.Client, tag: str) -> None:
    verdicts, summary = send(http, lines_of(tag, 1), backfill="false")
    assert verdicts[0]["code"] == "late"
    assert summary["rejected"] == 1


def test_only_what_was_not_accepted(http: httpx.Client, tag: str) -> None:
    verdicts, summary = send(http, lines_of(tag, 5) + b"[]\n", verdicts="errors")
    assert [v["line"] for v in verdicts] == [6]
    assert (summary["accepted"], summary["rejected"]) == (5, 1)


def test_gzip_in_one_piece_or_in_members(http: httpx.Client, tag: str) -> None:
    parts = [lines_of(tag, 4000, first=4000 * i) for i in range(2)]
    members = b"".join(gzip.compress(part) for part in parts) + b"\0" * 100
    headers = {"Content-Encoding": "gzip"}
    verdicts, summary = send(http, members, headers=headers)
    assert [v["line"] for v in verdicts] == list(range(1, 8001))
    assert summary["accepted"] == 8000
    assert send(http, gzip.compress(b"".join(parts)), headers=headers)[1]["duplicate"] == 8000


def test_a_stream_that_breaks_keeps_what_came_before(http: httpx.Client, tag: str) -> None:
    packed = gzip.compress(lines_of(tag, 4500), mtime=0)
    # The end is missing; half is missing; and from the middle on the bits are wrong.
    half = packed[: len(packed) // 2]
    for status, body in (
        ("accepted", packed[:-9]),
        ("duplicate", half),
        ("duplicate", half + b"\xff" * 99),
    ):
        verdicts, summary = send(http, body, headers={"Content-Encoding": "gzip"})
        *verdicts, last = verdicts
        assert last["error"]["status"] == 400
        assert "gzip" in last["error"]["detail"]
        assert not summary["complete"]
        assert len(verdicts) == sum(summary[name] for name in summary if name != "complete")
        assert {v["status"] for v in verdicts[:2000]} == {status}
        if status == "accepted":
            assert clicks_of(http, tag) == summary["accepted"] > 4000


def test_not_gzip_at_all(http: httpx.Client) -> None:
    verdicts, summary = send(http, b"plain text\n", headers={"Content-Encoding": "gzip"})
    assert verdicts[0]["error"]["status"] == 400
    assert not summary["complete"]


def test_gzip_without_its_header_is_told_which(http: httpx.Client, tag: str) -> None:
    packed = gzip.compress(lines_of(tag, 3))
    for body in (packed, (packed[at : at + 1] for at in range(len(packed)))):
        [told], summary = send(http, body)
        assert told["error"]["status"] == 400
        assert "1f 8b" in told["error"]["detail"]
        assert "Content-Encoding: gzip" in told["error"]["detail"]
        assert not summary["complete"]
    assert send(http, packed, headers={"Content-Encoding": "gzip"})[1]["accepted"] == 3


def test_a_bomb_is_not_unpacked(http: httpx.Client, trained: Any, tag: str) -> None:
    most = trained.settings.max_bulk_bytes
    assert most == 8 * 1024 * 1024
    good = lines_of(tag, 3)
    bomb = gzip.compress(good + b" " * (40 * most))
    assert len(bomb) < most // 20
    verdicts, summary = send(http, bomb, headers={"Content-Encoding": "gzip"})
    assert [v["status"] for v in verdicts[:3]] == ["accepted"] * 3
    assert verdicts[3]["error"]["status"] == 413
    assert str(most) in verdicts[3]["error"]["detail"]
    assert summary["accepted"] == 3


def test_bounds_at_their_edges(http: httpx.Client, trained: Any, tag: str, problem: Any) -> None:
    line = lines_of(tag, 1).rstrip()
    fits = line + b" " * (LONGEST_LINE - len(line)) + b"\n"
    over = line + b" " * (LONGEST_LINE + 1 - len(line)) + b"\n"
    verdicts, _ = send(http, fits + over + line)
    assert [v["status"] for v in verdicts] == ["accepted", "rejected", "duplicate"]
    assert verdicts[1]["code"] == "too_large"

    most = trained.settings.max_bulk_bytes
    blank = (b" " * 9999 + b"\n") * (most // 10_000 + 1)
    whole = (line + b"\n" + blank)[:most]
    assert send(http, whole)[1]["complete"]
    problem(http.post(PATH, content=whole + b"\n"), 413)  # it said so in Content-Length

    def unsized() -> Iterator[bytes]:
        yield whole
        yield b"\n"

    answer = http.post(PATH, content=unsized(), params={"backfill": "true"})
    assert orjson.loads(answer.content.splitlines()[-2])["error"]["status"] == 413


def test_headers_that_cannot_be_used(http: httpx.Client, trained: Any, problem: Any) -> None:
    body = problem(http.post(PATH, content=b"", headers={"Content-Encoding": "br"}), 415)
    assert "'br'" in body["detail"]
    problem(http.post(PATH, params={"verdicts": "some"}), 422)
    with trained.open() as nobody:
        problem(nobody.post(PATH, content=b"{}"), 401)


def test_nothing_is_a_stream_too(http: httpx.Client) -> None:
    assert send(http, b"") == (
        [],
        {"accepted": 0, "duplicate": 0, "conflict": 0, "rejected": 0, "complete": True},
    )


def test_verdicts_come_before_the_stream_ends(http: httpx.Client, trained: Any, tag: str) -> None:
    """A line is answered, and stored, though the client says nothing more for now."""
    with Raw(trained) as raw:
        raw.part(lines_of(tag, 1))
        assert raw.line() == {"line": 1, "event_id": f"{tag}-0", "status": "accepted"}
        assert clicks_of(http, tag) == 1
        raw.part(lines_of(tag, 1, first=1)[:-10])
        raw.part(lines_of(tag, 1, first=1)[-10:])
        assert raw.line()["line"] == 2
        raw.part(b"")
        assert raw.line()["summary"]["accepted"] == 2


def test_a_client_that_leaves(http: httpx.Client, trained: Any, tag: str) -> None:
    """What it was told is stored; the line it began is not; nothing stays behind."""
    eventually("idle", lambda: threads_of_chunks() <= 40, seconds=5)
    with Raw(trained) as raw:
        raw.part(lines_of(tag, 3))
        assert [raw.line()["line"] for _ in range(3)] == [1, 2, 3]
        raw.part(lines_of(tag, 1, first=3)[:-5])
    for _ in range(MOST_STREAMS + 1):  # each place is handed back
        with Raw(trained) as raw:
            raw.part(b"{")
    eventually("a free place", lambda: http.post(PATH, content=b"").is_success, seconds=5)
    assert clicks_of(http, tag) == 3


def test_only_so_many_at_once(http: httpx.Client, trained: Any, problem: Any, tag: str) -> None:
    eventually("a free place", lambda: http.post(PATH, content=b"").is_success, seconds=5)
    held = [Raw(trained) for _ in range(MOST_STREAMS)]
    for number, raw in enumerate(held):
        raw.part(lines_of(tag, 1, first=number))
        assert raw.line()["status"] == "accepted"
    answer = http.post(PATH, content=b"")
    problem(answer, 503)
    assert answer.headers["retry-after"] == "1"
    for raw in held:
        raw.close()
    eventually("a free place", lambda: http.post(PATH, content=b"").is_success, seconds=5)


def test_the_same_in_any_pieces(http: httpx.Client, tag: str) -> None:
    body = lines_of(tag, 40) + b"nonsense\n"
    expected, _ = send(http, body)
    for size in (1, 7, 1000):
        pieces = (body[i : i + size] for i in range(0, len(body), size))
        answer = http.post(PATH, content=pieces, params={"backfill": "true"})
        got = [orjson.loads(line) for line in answer.content.splitlines()][:-1]
        assert [v["status"] for v in got] == ["duplicate"] * 40 + ["rejected"]
        assert got[-1] == expected[-1]


def threads_of_chunks() -> int:
    return sum("worker thread" in thread.name for thread in threading.enumerate())


def test_zlib_has_no_say() -> None:
    """The bound is on what comes out: one piece of input may hold many pieces of output."""
    from api.reading.lines import Gunzip

    packed = gzip.compress(b"a" * 3_000_000)
    pieces = list(Gunzip().feed(packed))
    assert b"".join(pieces) == zlib.decompress(packed, 31)
    assert max(map(len, pieces)) <= 256 * 1024
