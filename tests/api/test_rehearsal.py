"""A dry run says what the real run would, exits as it would, and leaves nothing behind."""

import os
from collections.abc import Callable
from pathlib import Path
from time import time
from typing import Any

import orjson
import pytest
from nursery import nursery
from planted import click

Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `graphsvc` with a folder of its own, in which nothing is yet: code, JSON, stderr."""
    (tmp_path / "tmp").mkdir()
    own = {
        "PATH": os.environ["PATH"],
        "GRAPHSVC_DATA_DIR": str(tmp_path / "data"),
        "GRAPHSVC_SCHEMA": "film",
        "TMPDIR": str(tmp_path / "tmp"),
    }

    def call(*arguments: str, **settings: str) -> tuple[int, Any, str]:
        folder = Path(__file__).resolve().parents[2]
        done = nursery().call(*arguments, environment=own | settings, folder=folder)
        errors = done.stderr.decode()
        assert "Traceback" not in errors, errors
        as_json = "--json" in arguments and done.stdout
        return done.returncode, orjson.loads(done.stdout) if as_json else done.stdout, errors

    return call


def lines(folder: Path, *events: Any) -> str:
    file = folder / "events.ndjson"
    file.write_bytes(b"\n".join(orjson.dumps(event) for event in events))
    return str(file)


def test_it_says_what_the_real_run_says(run: Run, tmp_path: Path) -> None:
    now = int(time())
    good = [click("u1", f"f{n}", now, f"good-{n}") for n in range(7)]
    file = lines(
        tmp_path,
        *good,
        good[0],  # a duplicate
        click("u1", "f9", now, "good-1"),  # a conflict
        click("u1", "f1", now - 30 * 86_400, "late"),
        click("u1", "f1", now, "odd") | {"action_source": "offsite"},
    )
    rejects = tmp_path / "rejects.ndjson"
    code, dry, _ = run("ingest", file, "--dry-run", "--rejects", str(rejects), "--json")
    told = [orjson.loads(line) for line in rejects.read_bytes().splitlines()]
    assert [one["line"] for one in told] == [9, 10, 11]
    assert [one["code"] for one in told][:2] == ["conflict", "late"]
    assert (dry["checked"], len(dry["events"])) == (11, 5)
    assert dry["schema"].startswith("film")
    assert not (tmp_path / "data").exists(), "it needs no graph, and makes none"
    assert not list((tmp_path / "tmp").iterdir()), "nothing is left"

    assert run("init")[0] == 0
    real_code, real, _ = run("ingest", file, "--json")
    assert (code, real_code) == (3, 3)
    counts = ("accepted", "duplicate", "conflict", "rejected")
    assert [dry[name] for name in counts] == [real[name] for name in counts] == [7, 1, 1, 2]
    both = [[one | {"message": ""} for one in run_["first_rejections"]] for run_ in (dry, real)]
    assert both[0] == both[1], "but for the second in which it was asked"


def test_people_read_how_much_they_see(run: Run, tmp_path: Path) -> None:
    now = int(time())
    file = lines(tmp_path, *(click("u1", f"f{n}", now, f"c-{n}") for n in range(7)))
    code, shown, errors = run("ingest", file, "--dry-run")
    says = shown.decode()
    assert code == 0, errors
    assert "showing 5 of 7 events; nothing was written" in says
    assert "stored already" in says
    assert "there is no graph yet" in says
    rejects = tmp_path / "rejects.ndjson"
    says = run("ingest", file, "--dry-run", "--rejects", str(rejects))[1].decode()
    assert f"nothing was written but {rejects}. All" in says


def test_the_schema_of_the_graph_counts_where_there_is_one(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, click("u1", "f1", int(time()), "c-1"))
    assert run("init")[0] == 0
    code, found, _ = run("ingest", file, "--dry-run", "--json", GRAPHSVC_SCHEMA="ads")
    assert (code, found["schema"]) == (0, "film, version 1")
    assert run("ingest", file, "--dry-run", "--json")[1]["accepted"] == 1, "nothing was written"


def test_a_schema_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    file = lines(tmp_path, click("u1", "f1", int(time()), "c-1"))
    code, _, errors = run("ingest", file, "--dry-run", GRAPHSVC_SCHEMA="none.toml")
    assert (code, "none.toml" in errors) == (1, True)


def test_whatever_a_line_holds_can_be_shown(run: Run, tmp_path: Path) -> None:
    odd = orjson.dumps(click("u1", "f1", int(time()), "HERE [/b]") | {"value": 5})
    file, rejects = tmp_path / "odd.ndjson", tmp_path / "rejects.ndjson"
    file.write_bytes(odd.replace(b"HERE", b"\\ud800").replace(b":5}", b":" + b"9" * 20 + b"}"))
    for as_json in ([], ["--json"]):
        code, shown, _ = run("ingest", str(file), "--dry-run", "--rejects", str(rejects), *as_json)
        assert code == 3, shown
    [event] = (one["event"] for one in shown["events"])
    assert (event["event_id"], event["value"]) == ("\\ud800 [/b]", "9" * 20)
    assert orjson.loads(rejects.read_bytes())["event"] == event


def test_a_number_beyond_64_bits_is_one_sentence(run: Run) -> None:
    assert run("init")[0] == 0
    code, _, errors = run("retrain", "--seed", "9" * 20)
    assert (code, errors.count("\n")) == (1, 1), errors
    assert errors.startswith("error: seed: ")


def test_a_table_of_another_encoding_is_told_by_row_and_column(run: Run, tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(
        """
        [[events]]
        event_name = "click"
        event_time = { column = "at" }
        action_source = "onsite"
        actor = { type = "user", id = "{user}" }
        object = { type = "film", id = "{film}" }
        """
    )
    file, rejects = tmp_path / "t.csv", tmp_path / "rejects.ndjson"
    now = int(time())
    file.write_bytes(f"user,film,at\nJosé,f1,{now}\nAnn,f2,{now}\nJosé,f2\n".encode("latin-1"))
    given = ("--mapping", str(tmp_path / "m.toml"), "--rejects", str(rejects))
    code, found, errors = run("ingest", str(file), *given, "--dry-run", "--json")
    assert (code, errors, found["accepted"], found["rejected"]) == (3, "", 1, 2)
    told = [orjson.loads(line) for line in rejects.read_bytes().splitlines()]
    short, wrong = sorted(told, key=lambda one: -one["line"])
    assert (short["line"], short["field"], short["row"]) == (4, "row", "Jos\\xe9,f2")
    assert (wrong["line"], wrong["code"], wrong["field"]) == (2, "invalid", "column user")
    assert wrong["message"] == "column user: should be UTF-8, received 'Jos\\xe9'"
    assert wrong["value"] == "Jos\\xe9"
    assert wrong["row"] == {"user": "Jos\\xe9", "film": "f1", "at": str(now)}
