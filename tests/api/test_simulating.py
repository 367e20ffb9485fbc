"""A simulated market in files: two forms of the same events, and the truth beside them."""

from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from api.cli import app
from api.errors import Invalid
from api.reading.files import EventFile
from api.reading.mapping import load_mapping
from api.simulating import world_of, write

DIALS = [
    "people=100",
    "ads=60",
    "products=40",
    "advertisers=5",
    "campaigns=10",
    "categories=6",
    "pages_per_day=500.0",
]


def read(file: Path, mapping: Path | None = None) -> list[dict]:
    opened = EventFile(file, load_mapping(mapping) if mapping else None)
    return [event for rows in opened.chunks() for _, event in rows]


def test_lines_and_tables_hold_the_same_events(tmp_path: Path) -> None:
    world, told = world_of(3, [], DIALS), {}
    for name in ("market.ndjson", "market.parquet"):
        told[name] = write(world, tmp_path / name, events=9000, days=None, tick=lambda *_: None)
    lines = read(tmp_path / "market.ndjson")
    assert lines == read(tmp_path / "market.parquet", tmp_path / "market.mapping.toml")
    assert len(lines) == 9000
    assert {event["event_name"] for event in lines} > {"impression", "click", "set_attributes"}
    assert told["market.ndjson"]["auc"] == told["market.parquet"]["auc"]


def test_the_truth_is_beside_the_events_and_never_in_them(tmp_path: Path) -> None:
    world = world_of(3, [], DIALS)
    write(world, tmp_path / "market.jsonl", events=6000, days=None, tick=lambda *_: None)
    truth = pq.read_table(tmp_path / "market.truth.parquet")
    lines = read(tmp_path / "market.jsonl")
    shown = [event for event in lines if event["event_name"] == "impression"]
    assert truth["event_id"].to_pylist() == [event["event_id"] for event in shown]
    assert truth["user"].to_pylist() == [event["actor"]["id"] for event in shown]
    assert truth["ad"].to_pylist() == [event["object"]["id"] for event in shown]
    known = {"event_id", "event_name", "event_time", "action_source", "actor", "object"}
    assert {key for event in shown for key in event} == known | {"position", "consent"}
    assert orjson.loads(truth.schema.metadata[b"graphsvc.world"])["people"] == 100


def test_dials_and_nulls_are_said_by_name() -> None:
    world = world_of(3, ["kge"], ["people=100", "bots=0.5"])
    assert (world.seed, world.people, world.bots) == (3, 100, 0.5)
    assert (world.kge_informative, world.interactions) == (False, True)
    with pytest.raises(Invalid, match=r"--null should be one of offsite, interactions, kge"):
        world_of(0, ["nothing"], [])
    with pytest.raises(Invalid, match=r"--set should be NAME=VALUE, received 'people'$"):
        world_of(0, [], ["people"])
    with pytest.raises(Invalid, match=r"should name a dial of the world, .*did you mean people"):
        world_of(0, [], ["peeple=3"])
    with pytest.raises(Invalid, match="--set people should be a number"):
        world_of(0, [], ["people=many"])


def test_the_command_says_what_can_be_reached(tmp_path: Path) -> None:
    to = tmp_path / "market.parquet"
    dials = [part for dial in DIALS for part in ("--set", dial)]
    ran = CliRunner().invoke(
        app, ["simulate", "--to", str(to), "--events", "3000", *dials, "--json"]
    )
    assert ran.exit_code == 0, ran.output
    told = orjson.loads(ran.stdout)
    assert told["events"] == 3000
    assert {row["of"] for row in told["auc"]} == {
        "click_looked_at",
        "click_logged",
        "click_unplaced",
        "purchase",
    }
    for name in ("file", "truth", "mapping"):
        assert Path(told[name]).is_file()


def test_the_command_wants_an_end_and_a_form_that_it_can_write(tmp_path: Path) -> None:
    runner = CliRunner()
    endless = runner.invoke(app, ["simulate", "--to", str(tmp_path / "market.parquet")])
    assert isinstance(endless.exception, Invalid)
    form = runner.invoke(app, ["simulate", "--to", str(tmp_path / "m.csv"), "--events", "1"])
    assert "should be a .parquet, .ndjson or .jsonl file" in str(form.exception)
