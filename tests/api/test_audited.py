"""A write in one line: what it was about, and what became of it in a word."""

import json
from pathlib import Path

import pytest
from nursery import nursery
from running import service

from api.audited import line
from graphsvc.audit import COMMAND_LINE, Write, Written


def _row(**told: object) -> Written:
    plain = {"number": 3, "at": 0, "actor": "5f" * 8, "action": "POST /x", "about": {}}
    return Written(**(plain | {"trace_id": None, "of": None, "status": None} | told))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (200, "done (200)"),
        (202, "done (202)"),
        (403, "refused (403)"),
        (404, "refused (404)"),
        (500, "failed (500)"),
        (None, "not known: under way, or it ended before it could say"),
    ],
)
def test_what_became_of_it(status: int | None, word: str) -> None:
    became = None if status is None else _row(number=4, of=3, status=status)
    assert line(Write(_row(), became))["outcome"] == word


def test_what_it_was_about_is_told_with_what_was_told_meanwhile() -> None:
    became = _row(
        number=4,
        of=3,
        status=201,
        at=9,
        about={
            "key": "5f",
            "scopes": ["a", "b"],
            "ends": None,
            "asked": {"seed": 0, "carry": False},
        },
    )
    assert line(Write(_row(about={"key": "5f"}), became)) == {
        "number": 3,
        "at": "1970-01-01 00:00:00",
        "actor": "5f" * 8,
        "action": "POST /x",
        "about": "key: 5f, scopes: a b, asked: seed 0",
        "outcome": "done (201)",
    }


@pytest.mark.parametrize("actor", [COMMAND_LINE, "5f" * 8])
def test_what_was_only_asked_for_does_not_look_done(actor: str) -> None:
    assert line(Write(_row(actor=actor), None))["outcome"].startswith("not known")


def test_people_get_a_line_a_write_and_machines_both_rows(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.start("serve")
        running.wait_ready()
        with running.client() as http:
            made = http.post("/v1/keys", json={"name": "shop", "scopes": ["ingest"]}).json()
            assert http.delete(f"/v1/keys/{'0' * 16}").status_code == 404

        def call(*verb: str) -> str:
            said = nursery().call(*verb, environment=running.environment, folder=tmp_path)
            assert said.returncode == 0, said.stderr
            return said.stdout.decode()

        rows = json.loads(call("audit", "--json"))["audit"]
        assert [row["of"] is None for row in rows[:4]] == [False, True, False, True]
        told = call("audit")
        assert told.count("POST /v1/keys") == 1
        assert "done (201)" in told
        assert "refused (404)" in told
        assert made["id"] in told
