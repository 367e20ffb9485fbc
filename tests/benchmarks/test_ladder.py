"""benchmarks/ladder.py: trials that are equal for all, gaps by hand, and the whole in small."""

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import planted_events

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import ladder
import ladder_rows
from ladder_rows import Gap, Run
from ladder_worlds import Folder, MovieLens

from graphsvc.conversions import Conversions
from graphsvc.export import present_moment
from graphsvc.report import rows_of
from ranking.config import ARMS, RankerConfig

SCHEMAS = Path(__file__).resolve().parents[2] / "graphsvc" / "schemas"


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """The planted world as a folder: people click what is of their genre."""
    folder = tmp_path / "planted"
    folder.mkdir()
    lines = [json.dumps(event) + "\n" for event in planted_events()]
    (folder / "events.jsonl").write_text("".join(lines))
    shutil.copy(SCHEMAS / "film.toml", folder / "ctr.toml")
    return folder


def options_of(out: Path, world: Path, *given: str) -> argparse.Namespace:
    common = ["--no-movielens", "--world", str(world), "--out", str(out), "--seeds", "2"]
    return ladder.arguments([*common, *given])


def names(out: Path, world: Path, *given: str) -> list[str]:
    return list(ladder.cells(ladder.Bench(options_of(out, world, *given), out)))


def test_each_arm_is_chosen_once_and_run_per_seed(tmp_path: Path, world: Path) -> None:
    made = names(tmp_path, world)
    assert len(made) == len(ARMS) * 3
    stems = [name.rpartition("-")[0] for name in made]
    assert stems[0] == "chosen-planted-ctr-none"
    assert "run-planted-ctr-attention-2" in stems
    # A seed's arms stand together: they share its bundle.
    assert [stem[-1] for stem in stems[len(ARMS) :]] == ["1"] * len(ARMS) + ["2"] * len(ARMS)


def test_other_data_or_dials_are_other_cells(tmp_path: Path, world: Path) -> None:
    before = set(names(tmp_path, world))
    assert before == set(names(tmp_path, world)), "the same command goes on"
    for dial in (
        ["--split", "global_time"],
        ["--dim", "8"],
        ["--threads", "1"],
        ["--no-match"],
    ):
        assert not before & set(names(tmp_path, world, *dial)), dial
    assert set(names(tmp_path, world, "--arms", "none", "frozen")) < before
    with (world / "events.jsonl").open("a") as log:
        log.write("{}\n")
    assert not before & set(names(tmp_path, world))


def test_every_arm_is_tried_with_the_same_dials_near_one_of_which_the_defaults_lie() -> None:
    trials = ladder._trials()
    assert len(trials) == ladder.TRIALS
    assert trials == ladder._trials()
    near, plain = ladder.config_of("attention", trials[2], 0), RankerConfig()
    assert near.training.learning_rate == pytest.approx(plain.training.learning_rate, rel=0.02)
    rounded = replace(near.training, learning_rate=plain.training.learning_rate)
    assert replace(near, training=rounded) == plain
    assert len({json.dumps(dials) for dials in trials}) == len(trials)
    for dials in trials:
        made = {arm: ladder.config_of(arm, dials, 3) for arm in ARMS}
        assert {config.training for config in made.values()} == {made["none"].training}


def run(*draws: float, later: tuple[float, ...] = ()) -> Run:
    found = {"old": np.array(draws)}
    if later:
        found["new"] = np.array(later)
    return Run({"auc": draws[0], "logloss": 0.5, "parameters": 7}, found)


def test_a_gap_by_hand() -> None:
    """Two seeds: .02 and .04; t of one degree of freedom is 12.706 standard errors of .01."""
    base = {1: run(0.70, 0.71, 0.69), 2: run(0.70, 0.70, 0.70), 3: run(0.9, 0.9, 0.9)}
    ours = {1: run(0.72, 0.74, 0.70), 2: run(0.74, 0.73, 0.75)}
    found = ladder_rows.gap(ours, base)
    assert found.value == pytest.approx(0.03)
    assert found.seeds == 2
    assert found.by_seed == pytest.approx((0.03 - 0.12706, 0.03 + 0.12706), abs=1e-4)
    # Of both draws the mean over seeds is .03.
    assert found.by_user == pytest.approx((0.03, 0.03))
    assert found.decided == "not decided", "two seeds are few"
    assert found.whole == pytest.approx((0.03 - 0.12706, 0.03 + 0.12706), abs=1e-4)
    alone = ladder_rows.gap({1: ours[1]}, base)
    assert (alone.by_seed, alone.whole, alone.decided) == (None, None, "not decided")
    assert ladder_rows.gap(ours, {9: run(0.5, 0.5, 0.5)}) is None
    assert ladder_rows.gap(ours, ours, "new", "old") is None


@pytest.mark.parametrize(
    ("by_seed", "by_user", "decided"),
    [
        ((0.01, 0.02), (0.01, 0.03), "ahead"),
        ((0.01, 0.02), (-0.01, 0.03), "not decided"),
        ((-0.01, 0.02), (0.01, 0.03), "not decided"),
        ((-0.02, -0.01), (-0.03, -0.01), "behind"),
    ],
)
def test_both_intervals_have_to_exclude_zero(by_seed, by_user, decided) -> None:
    assert Gap(0.0, 3, by_seed, by_user).decided == decided


def test_rows_say_lift_lead_and_what_a_refresh_changes() -> None:
    runs = {
        ("w", "ctr"): {
            "none": {1: run(0.70, 0.70, 0.70), 2: run(0.70, 0.70, 0.70)},
            "frozen": {1: run(0.71, 0.71, 0.71), 2: run(0.71, 0.71, 0.71)},
            "attention": {
                1: run(0.75, 0.74, 0.76, later=(0.76, 0.75, 0.77)),
                2: run(0.75, 0.74, 0.76, later=(0.76, 0.75, 0.77)),
            },
        }
    }
    rows = ladder_rows.rows_of(runs)
    told = {(r.metric, r.model): r for r in rows if r.seed == "all"}
    assert told["auc", "attention"].value == pytest.approx(0.75)
    assert told["auc_lift", "attention - none"].value == pytest.approx(0.05)
    lead = told["auc_lead", "attention - frozen"]
    assert lead.value == pytest.approx(0.04)
    # The t interval is a point, the bootstrap goes from .03 to .05.
    assert (lead.lo, lead.hi) == pytest.approx((0.03, 0.05), abs=2e-3)
    change = told["auc_refreshed_change", "attention, T2 - T0"]
    assert change.value == pytest.approx(0.01)
    assert ("auc_refreshed_change", "frozen, T2 - T0") not in told
    assert ladder.AIMS[0].verdict(lead) == "reached"
    text = ladder_rows.section(runs)
    assert "| w/ctr | attention - frozen | +0.0400 | 2 |" in text
    assert text.count("ahead") >= 3


def test_a_world_gives_the_events_that_its_schema_knows(world: Path) -> None:
    source = Folder(world)
    assert (source.name, source.tasks) == ("planted", ("ctr",))
    assert list(source.events("ctr")) == planted_events()
    with (world / "events.jsonl").open("a") as log:
        log.write(json.dumps({"event_name": "of_another_task"}) + "\n")
    assert list(source.events("ctr")) == planted_events()
    with pytest.raises(SystemExit):
        options_of(world, world.parent)


def test_a_conversion_of_movielens_is_a_rating_of_five(tmp_path: Path) -> None:
    files = {
        "inter": ["u1\tf1\t5\t10", "u1\tf2\t4\t11", "u2\tf1\t2\t12"],
        "user": ["u1\t20\tM\tcook\t1", "u2\t30\tF\tspy\t1"],
        "item": ["f1\tOne\t1990\tDrama", "f2\tTwo\t1991\tDrama"],
        "kg": [],
        "link": [],
    }
    for part, lines in files.items():
        (tmp_path / f"ml-100k.{part}").write_text("\n".join(["header", *lines]) + "\n")
    source = MovieLens(tmp_path, tmp_path)
    assert source.schema("ctr").label.outcome == "click"
    cvr = source.schema("cvr")
    assert cvr.label == source.schema("ctr").label
    assert (source.counted("ctr"), source.counted("cvr")) == ((), ("love",))
    assert Conversions(events=("love",)).named(cvr) == ("love",)

    def done(task: str) -> list[tuple[str, str]]:
        acts = [e for e in source.events(task) if e["event_name"] != "set_attributes"]
        return [(e["event_name"], e["object"]["id"]) for e in acts]

    shown = [("impression", "f1"), ("click", "f1"), ("impression", "f2"), ("click", "f2")]
    assert done("ctr") == [*shown, ("impression", "f1")]
    assert done("cvr") == [*shown[:2], ("love", "f1"), *shown[2:], ("impression", "f1")]


@pytest.mark.slow
def test_the_ladder_in_small(tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two arms, two seeds: cells, draws, page and picture; a ranker without its choice fails."""
    monkeypatch.setattr(ladder, "TRIALS", 2)
    monkeypatch.setattr(ladder, "RESAMPLES", 20)
    for dial in ("DIM", "RELATION_DIM"):
        monkeypatch.setenv(f"GRAPHSVC_TRANSRA__{dial}", "8")
    out, work = tmp_path / "out", tmp_path / "work"
    given = ["--arms", "none", "attention", "--threads", "1", "--split", "global_time"]
    options = options_of(out, world, *given, "--only", "run-", "--dim", "8")
    bench = ladder.Bench(options, work)
    early = grid.measure(ladder.cells(bench), options, ladder.ERRORS)
    assert not early.found
    assert all("not chosen yet" in said for said in early.failed.values())
    options.only = ""
    outcome = grid.measure(ladder.cells(bench), options, ladder.ERRORS)
    assert not outcome.failed
    assert len(outcome.found) == 6
    chosen = [told for name, told in outcome.found.items() if name.startswith("chosen-")]
    assert [told["trials"] for told in chosen] == [2, 2]
    for told in chosen:
        losses = [one["loss"] for one in told["tried"]]
        assert told["dials"] == told["tried"][losses.index(min(losses))]["dials"]
    ladder.write(outcome.found, options)
    assert (out / "ladder.png").stat().st_size > 1000
    page = (out / "README.md").read_text()
    assert "planted/ctr" in page
    rows = rows_of(json.loads((out / "ladder.json").read_text()))
    auc = {row.model: row.value for row in rows if row.metric == "auc" and row.seed == "all"}
    assert set(auc) == {"none", "attention"}
    ran = [told for name, told in outcome.found.items() if "run-planted-ctr-none-" in name]
    assert len(ran) == 2
    assert auc["none"] == pytest.approx(np.mean([told["auc"] for told in ran]))
    # What is written is found again, and the log ends when the last event happens.
    again = ladder.Bench(options, work)
    source = again.sources[0]
    found = again.world(source, "ctr")
    assert found.made == bench.world(source, "ctr").made
    with found.shop.database.reading() as connection:
        ended = present_moment(connection).as_of
    assert ended == max(event["event_time"] for event in planted_events())


def test_a_market_needs_no_schema(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("")
    source = Folder(tmp_path)
    assert source.tasks == ("ctr", "cvr")
    assert source.schema("ctr").label.outcome == "click"
    assert source.schema("cvr").label == source.schema("ctr").label
    assert (source.counted("ctr"), source.counted("cvr")) == ((), ("checkout",))
    assert Conversions(events=("checkout",)).named(source.schema("cvr")) == ("checkout",)
    (tmp_path / "cvr.toml").write_text("")
    assert source.counted("cvr") == (), "a schema of its own says in its label what is asked"
    assert source.key("ctr") != source.key("cvr")
