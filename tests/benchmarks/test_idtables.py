"""The benchmark of ID tables: small cells for real, figures by hand."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import idtables
import idtables_tasks
from idtables import NotInstalled, Sizes, cells, placed, quality_cell, rows_of, speed_cell

from graphsvc.snapshot import Span

SMALL = Sizes(
    rows=2_000, dim=8, batch=32, steps=2, warm=1, turns=1, threads=1,
    arms=(("adagrad", "torch", "float32"), ("adagrad", "torch", "bfloat16")),
    quality_rows=2_000, users=64, items=32, numbers=4, powers=(6,), seeds=1,
    training={"epochs": 1, "batch": 256, "patience": 1}, rates=(0.02,),
)  # fmt: skip


def at_once(work, asked, *, threads, **_):
    """`apart.run` without a process."""
    return work(**asked)


def test_the_nth_comes_as_often_as_its_power_says():
    """Of 10,000 ids the first 16 have (17^.25 - 1) / (10001^.25 - 1) = .1144 of all draws."""
    drawn = idtables_tasks._drawn(np.random.default_rng(0), 10_000, 200_000)
    assert (drawn.min() >= 0, drawn.max() < 10_000) == (True, True)
    first = np.arange(16) * 2_654_435_761 % 10_000
    assert np.isin(drawn, first).mean() == pytest.approx(0.1144, abs=0.004)


def test_a_planted_world_has_five_spans_but_the_graph_and_its_truth_is_the_best():
    world = idtables_tasks.planted(rows=4_000, users=50, items=20, seed=3)
    rows = world.examples.rows
    sizes = {span: len(rows[span].labels) for span in rows}
    assert sizes == {Span.TRAIN: 3200, Span.VALID: 200, Span.CALIBRATE: 200, Span.TEST: 400}
    labels = np.concatenate([rows[span].labels for span in rows])
    assert world.truth.mean() == pytest.approx(labels.mean(), abs=0.03)
    assert rows[Span.TEST].heads.ids[0] == f"u{world.user[3600]}"


def test_speed_is_measured_and_memory_planned():
    told = cells(SMALL, at_once)[speed_cell(SMALL, SMALL.arms[1], 1)]()
    assert (len(told["step_seconds"]), told["backend"]) == (2, "torch")
    assert told["rows_per_second"] == pytest.approx(64 / sum(told["step_seconds"]))
    # 2,000 rows of 8 numbers of 2 bytes, and one of 4.
    assert told["planned_mib"] == pytest.approx(2_000 * 20 / 2**20)


def test_a_backend_that_is_not_installed_fails_by_name(monkeypatch):
    monkeypatch.setattr(idtables.importlib.util, "find_spec", lambda _: None)
    arm = ("adagrad", "fbgemm", "float32")
    with pytest.raises(NotInstalled, match="Looked for fbgemm_gpu"):
        idtables._speed(SMALL, arm, at_once)


def test_tables_of_a_placement_have_the_rows_that_they_are_said_to_have():
    own = placed(SMALL, "own and hashed", 6)
    assert (own["max_exclusive"], own["buckets"]) == (28, 4)
    hashed = placed(SMALL, "hashed", 6)
    assert (hashed["max_exclusive"], hashed["buckets"]) == (1, 31)


def test_a_cell_of_quality_says_what_the_page_needs(tmp_path):
    made = cells(SMALL, at_once)
    ids = placed(SMALL, "own and hashed", 6)
    name = quality_cell(SMALL, "auc-2^6-own and hashed", ids, 1)
    told = made[name]()
    # 32 rows a side, of which users fill theirs; 28 + 4 and 28 + 4.
    assert told["table_rows"] == 64
    assert told["bytes"] == 64 * 4 * 4
    # 4 codes of a byte and two numbers of 4; 2 bytes and two of 2.
    assert {bits: one["bytes"] for bits, one in told["bits"].items()} == {
        "8": 64 * 12,
        "4": 64 * 6,
    }
    assert sum(one["ids"] for one in told["collisions"]["user"]) <= 64
    cell = {**told, "processor": "a", "commit": "b"}
    rows = rows_of({name: cell}, SMALL)
    by_metric = {row.metric: row for row in rows if row.seed == "all"}
    assert by_metric["auc"].value == told["auc"]
    assert by_metric["auc_change_by_int8"].value == abs(told["bits"]["8"]["auc"] - told["auc"])
    assert (by_metric["auc"].model, by_metric["auc"].split) == ("2^6 rows", "own and hashed")
    idtables.picture(tmp_path / "auc.png", rows, SMALL)
    assert (tmp_path / "auc.png").stat().st_size > 1000


def test_a_cell_of_rows_that_go_on_compares_them_with_rows_that_begin_anew():
    [(arm, dials)] = SMALL.carried.items()
    ids = idtables.largest(SMALL) | dials
    name = quality_cell(SMALL, f"{idtables.CARRYING}-{arm}", ids, 1)
    told = cells(SMALL, at_once)[name]()
    found = told["carrying"]
    assert {"newer", "whole", "without sums", "carried"} < set(found)
    assert {"again", "again without sums"} < set(found)
    assert len(set(found.values())) == 6, "each begins with something else"
    rows = rows_of({name: {**told, "processor": "a", "commit": "b"}}, SMALL)
    changes = {row.split: row.value for row in rows if row.metric == "auc_change_by_carrying"}
    assert changes["rows begin with carried"] == found["carried"] - found["newer"]
    assert "rows begin with newer" not in changes


def test_shares_of_rows_by_hand():
    """Class one: 10 rows of 5 ids, two of which share; class two: 30 rows of 3, all twins."""
    people = [
        {"rows": 10, "ids": 5, "shared": 2, "twins": 0},
        {"rows": 30, "ids": 3, "shared": 3, "twins": 3},
    ]
    cell = {
        "auc": 0.7, "valid_auc": 0.6, "best_auc": 0.8, "bytes": 100, "classes": {},
        "bits": {"8": {"auc": 0.69, "bytes": 30}}, "collisions": {"user": people},
    }  # fmt: skip
    found = {key[0]: value for key, value in idtables._qualities(cell).items()}
    assert found["shared_rows"] == pytest.approx((4 + 30) / 40)
    assert found["twin_rows"] == pytest.approx(30 / 40)
    assert found["auc_change_by_int8"] == pytest.approx(0.01)


def test_names_of_cells_follow_what_they_depend_on():
    made = cells(SMALL, at_once)
    assert len(made) == 2 + 2 + 3 + 1
    assert not any("/" in name or " " in name for name in made)
    assert grid.named("a", 1) != grid.named("a", 2)
