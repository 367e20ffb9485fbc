"""benchmarks/refresh.py: names of cells, and a chain of refreshes in small."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import planted_events

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import growing
import paired
import refresh
import verdicts
from paired import Scored

from api.demo.data import FILES, DataMissing
from graphsvc.report import Row, rows_of
from ranking.intervals import Judged


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The five files of MovieLens-100k, all but empty."""
    folder = tmp_path / "ml-100k"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("a\n")
    return folder


def names(folder: Path, *given: str) -> set[str]:
    options = refresh.arguments(["--seeds", "1", *given])
    return set(refresh.cells(refresh.Bench(options, folder)))


def test_other_data_or_dials_are_other_cells(data: Path, tmp_path: Path):
    common = ["--data", str(data)]
    before = names(tmp_path, *common)
    assert len(before) == len(refresh.WAYS) + 1
    assert before == names(tmp_path, *common), "the same command goes on"
    for dial in (
        ["--split", "global_time"],
        ["--dim", "8"],
        ["--epochs", "2"],
        ["--threads", "1"],
    ):
        assert not before & names(tmp_path, *common, *dial), dial
    assert before == names(tmp_path, *common, "--triples-epochs", "2"), "none of these are triples"
    files = []
    for name in ("train", "valid", "test"):
        (tmp_path / name).write_text("a\tb\tc\n")
        files += [f"--{name}", str(tmp_path / name)]
    [triples] = names(tmp_path, *common, *files) - before
    assert triples.startswith("share-triples-1-")
    (tmp_path / "test").write_text("a\tb\td\n")
    [others] = names(tmp_path, *common, *files) - before
    assert others != triples
    (data / FILES[0]).write_text("b\n")
    assert not before & names(tmp_path, *common)


def test_files_that_are_missing_are_named_before_anything_is_measured(tmp_path: Path):
    with pytest.raises(DataMissing, match=r"ml-100k\.inter"):
        names(tmp_path, "--data", str(tmp_path))


def movielens_of(folder: Path) -> Path:
    """The planted world as the five files: who clicked gave five stars, who did not gave two.

    A dozen films more are rated by nobody: nothing happens to these.
    """
    folder.mkdir()
    events = planted_events()
    clicked = {(e["actor"]["id"], e["object"]["id"]) for e in events if e["event_name"] == "click"}
    shown = [e for e in events if e["event_name"] == "impression"]
    genres = {e["actor"]["id"]: e["object"]["id"] for e in events if e["event_name"] == "genre"}
    genres |= {f"x{n}": "drama" for n in range(12)}
    users = sorted({e["actor"]["id"] for e in shown})
    pairs = [(e["actor"]["id"], e["object"]["id"], e["event_time"]) for e in shown]
    seen: dict[tuple[str, str], int] = {}
    for user, film, time in pairs:
        seen.setdefault((user, film), time)
    rows = {
        "inter": [(u, f, 5 if (u, f) in clicked else 2, time) for (u, f), time in seen.items()],
        "user": [(user, 30, "F", "writer", "00000") for user in users],
        "item": [(film, film, 1990, genre) for film, genre in genres.items()],
        "kg": [(f"m.{film}", "film.film.genre", f"m.{genre}") for film, genre in genres.items()],
        "link": [(film, f"m.{film}") for film in genres],
    }
    for part, lines in rows.items():
        text = "".join("\t".join(map(str, line)) + "\n" for line in (("names",), *lines))
        (folder / f"ml-100k.{part}").write_text(text)
    return folder


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Two refreshes, two ways, a few steps of everything."""
    for module in (growing, refresh):
        monkeypatch.setattr(module, "REFRESHES", 2)
    monkeypatch.setattr(refresh, "RESAMPLES", 50)
    ways = {way: refresh.WAYS[way] for way in ("frame", "procrustes")}
    monkeypatch.setattr(refresh, "WAYS", ways)
    monkeypatch.setenv("GRAPHSVC_RANKER__TRAINING__EPOCHS", "1")
    given = ["--data", str(movielens_of(tmp_path / "ml-100k")), "--out", str(tmp_path / "out")]
    return refresh.arguments(
        [*given, "--seeds", "1", "--dim", "8", "--epochs", "0.1", "--threads", "1"]
    )


@pytest.mark.slow
def test_a_chain_of_refreshes_becomes_rows_a_page_and_pictures(small, tmp_path: Path):
    bench = refresh.Bench(small, tmp_path / "world")
    outcome = grid.measure(refresh.cells(bench), small, refresh.ERRORS)
    assert outcome.failed == {}
    told = {cell.rpartition("-")[0]: result for cell, result in outcome.found.items()}
    assert set(told) == {"frame-1", "procrustes-1", "share-movielens-1"}
    edges = [one["edges"] for one in told["frame-1"]["refreshes"]]
    assert edges == sorted(set(edges)), "the log grows from refresh to refresh"
    assert edges == [one["edges"] for one in told["procrustes-1"]["refreshes"]]
    assert told["frame-1"]["lift"] == told["procrustes-1"]["lift"], "they begin alike"
    refresh.write(outcome.found, small)
    rows = {
        (row.metric, row.split, row.model): row
        for row in rows_of(json.loads((small.out / "refresh.json").read_text()))
        if row.seed == "all"
    }
    for way in ("frame", "procrustes"):
        for arm in growing.ARMS:
            row = rows["auc_change", "refresh=2", f"{way} / {arm}"]
            assert row.lo <= row.value <= row.hi
        assert rows["cosine", "refresh=2/film", way].value <= 1.0
    assert rows["frame_kept", "refresh=1", "frame"].value > 0.5
    assert ("frame_kept", "refresh=1", "procrustes") not in rows, "it begins with no bundle"
    assert rows["refresh_time_share", "movielens", "refresh / full"].value > 0
    assert rows["refresh_mrr_share", "movielens/test", "refresh / full"].value > 0
    told = json.loads((small.out / "refresh.json").read_text())["header"]["dials"]["verdicts"]
    assert set(told) == {f"{way} / {arm}" for way in refresh.WAYS for arm in growing.ARMS}
    assert all(list(each) == ["1", "2", "all"] for each in told.values())
    page = (small.out / "README.md").read_text()
    assert "## Kept, or fell" in page
    assert all(f"| {name} |" in page for name in told)
    for picture in ("auc_change.png", "cosine.png"):
        assert (small.out / picture).read_bytes().startswith(b"\x89PNG")
    check_changes(bench)


def check_changes(bench: refresh.Bench) -> None:
    """With the bundle that rankers were trained on, nothing changes."""
    world = bench.world()
    first, rankers = world.first(bench.dials({}), 1)
    same = refresh._changes(world, 0, (first, first), rankers)
    assert set(same) == set(growing.ARMS)
    assert all(len(drawn) == 51 and not drawn.any() for drawn in same.values())
    examples = refresh._examples(world, 1, first)
    judged, scores = refresh._scored(world, rankers["frozen"], examples, first)
    assert len(judged.labels) == len(scores) > 0
    assert set(np.unique(judged.labels)) == {0, 1}


def test_a_gap_is_the_second_less_the_first():
    labels = np.tile(np.array([0, 1], np.int8), 30)
    judged = Judged(labels, np.repeat(np.arange(20, dtype=np.int32), 3), np.ones(60, np.float32))
    right = labels.astype(np.float64)
    wrong, level = Scored(judged, 1.0 - right), Scored(judged, np.full(60, 0.5))
    gaps = {
        "up": paired.gap(wrong, Scored(judged, right), 50),
        "down": paired.gap(Scored(judged, right), level, 50),
    }
    assert paired.ends(gaps) == {"up": [1.0, 1.0, 1.0], "down": [-0.5, -0.5, -0.5]}


def test_draws_of_users_are_those_of_the_mean_over_seeds(tmp_path: Path):
    """What is good luck of one seed and bad luck of the other moves their mean little."""
    found = {f"frame-{seed}": {"way": "frame", "seed": seed} for seed in (1, 2)}
    found["share-1"] = {"data": "movielens"}
    swing = np.linspace(-1.0, 1.0, 101)
    for cell, drawn in (("frame-1", 0.1 + swing), ("frame-2", 0.3 - 0.5 * swing)):
        draws = {"auc_change/refresh=1/frozen": np.concatenate([[drawn.mean()], drawn])}
        paired.keep(tmp_path / f"{cell}.npz", draws)
    [row] = paired.over_users(found, tmp_path)
    assert (row.metric, row.split, row.seed) == ("auc_change_over_users", "refresh=1", "all")
    assert row.model == "frame / frozen"
    assert (row.value, row.lo, row.hi) == pytest.approx((0.2, 0.2 - 0.2375, 0.2 + 0.2375), abs=1e-6)
    (tmp_path / "frame-2.npz").unlink()
    with pytest.raises(SystemExit, match=r"frame-2\.npz should lie beside its cell"):
        list(paired.over_users(found, tmp_path))


LIFT = "auc_lift"


def change(model: str, refresh: int, value: float, reach: float | None, metric="auc_change") -> Row:
    low, high = (None, None) if reach is None else (value - reach, value + reach)
    same = {"metric": metric, "unit": "share", "model": model, "seed": "all"}
    return Row(value=value, lo=low, hi=high, split=f"refresh={refresh}", **same)


def test_a_verdict_is_by_the_interval_and_the_margin():
    values = {
        "frame / frozen": [(0.0, 0.001), (-0.0015, 0.0004)],
        "warm start / frozen": [(0.0, 0.001), (-0.0015, 0.0006)],
        "re-init / frozen": [(-0.02, 0.001), (-0.01, 0.007)],
        "TransR, re-init / frozen": [(-0.01, 0.001), (-0.01, None)],
    }
    rows = [
        change(name, number, *pair)
        for name, pairs in values.items()
        for number, pair in enumerate(pairs, start=1)
    ]
    lifts = dict.fromkeys(values, 0.01) | {"warm start / frozen": 0.0}
    rows += [change(name, 0, value, 0.005, LIFT) for name, value in lifts.items()]
    told = verdicts.verdicts(rows)
    assert told["frame / frozen"] == {"1": "kept", "2": "kept", "all": "kept"}
    assert told["warm start / frozen"] == {"1": "kept", "2": "not decided", "all": "not decided"}
    assert told["re-init / frozen"] == {"1": "fell", "2": "fell", "all": "fell"}
    assert told["TransR, re-init / frozen"]["all"] == "not decided", "one without an interval"
    text = verdicts.section(rows)
    assert "| frame / frozen | yes | +0.0000 kept | -0.0015 kept | kept |" in text
    assert "| warm start / frozen | no |" in text
    assert "`re-init / frozen` is vectors of another frame: fell, as it has to." in text
    assert "`TransR, re-init / frozen` is vectors of another frame: not decided, so by" in text
    assert "would refuse" not in text


def test_a_verdict_needs_both_kinds_of_intervals():
    """Over seeds it is kept; over users it is not sure. One seed's own interval has no say."""
    name, users = "frame / frozen", "_over_users"
    seeds = [change(name, 1, 0.0, 0.001), change(name, 0, 0.01, 0.001, LIFT)]
    seeds += [replace(change(name, 1, 0.0, 0.003), seed=3)]
    sure = [change(name, 1, 0.0, 0.0015, f"auc_change{users}")]
    unsure = [change(name, 1, 0.0, 0.0025, f"auc_change{users}")]
    assert verdicts.verdicts([*seeds, *sure])[name]["1"] == "kept"
    another = replace(change(name, 1, 0.0, 0.001), seed=4)
    assert "+0.0000 kept (1/2)" in verdicts.section([*seeds, another, *sure])
    assert verdicts.verdicts([*seeds, *unsure])[name]["1"] == "not decided"
    above = change(name, 0, 0.01, 0.005, LIFT + users)
    assert "| frame / frozen | yes |" in verdicts.section([*seeds, *sure, above])
    below = change(name, 0, 0.01, 0.02, LIFT + users)
    assert "| frame / frozen | no |" in verdicts.section([*seeds, *sure, below])


def test_a_chain_that_the_service_would_refuse_is_marked():
    rows = [change("warm start / frozen", 1, 0.0, 0.001)]
    rows.append(change("warm start / frozen", 0, 0.01, 0.001, "auc_lift"))
    for seed, kept in ((1, 0.951), (2, 0.949)):
        same = {"metric": "frame_kept", "unit": "share", "model": "warm start"}
        rows.append(Row(value=kept, split="refresh=1", seed=seed, **same))
    assert verdicts.refused(rows) == {"warm start": ["1 of seed 2 (0.949)"]}
    text = verdicts.section(rows)
    assert "The service would refuse the chain of `warm start`: `frame_kept` is below 0.95" in text
    assert verdicts.section([]) == ""
