"""A grid of cells: what fails, what is listed, what is not measured again. No model is trained."""

import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import grid
import orjson
import printed
import publish

from api.provenance import processor
from graphsvc.report import Row, as_report


class Expected(Exception):
    pass


def fails() -> dict[str, float]:
    raise Expected("[3] should be 4")


@pytest.fixture
def options(tmp_path: Path) -> Namespace:
    return grid.arguments("", str(tmp_path)).parse_args([])


def test_a_cell_that_fails_keeps_no_other_from_its_turn(options: Namespace, capsys):
    cells = {"before": lambda: {"a": 1}, "broken": fails, "after": lambda: {"a": 2}}
    outcome = grid.measure(cells, options, (Expected,))
    assert {name: told["a"] for name, told in outcome.found.items()} == {"before": 1, "after": 2}
    assert outcome.failed == {"broken": "[3] should be 4"}
    assert outcome.code == 1
    files = sorted(file.name for file in (options.out / "cells").iterdir())
    assert files == ["after.json", "before.json"]
    told = capsys.readouterr().err.splitlines()
    assert told[-3:] == ["2 of 3 cells; missing:", "  broken", "failed: broken: [3] should be 4"]
    # It has its turn again, and nothing else has.
    again = grid.measure(cells | {"broken": lambda: {"a": 3}}, options, (Expected,))
    assert again.failed == {}
    assert again.code == 0
    assert again.found["before"] == outcome.found["before"]
    assert again.found["broken"]["a"] == 3


def test_what_is_no_declared_error_ends_it(options: Namespace):
    with pytest.raises(Expected):
        grid.measure({"broken": fails, "after": lambda: {"a": 2}}, options, (KeyError,))
    assert not list((options.out / "cells").iterdir())


def test_a_listing_measures_nothing(options: Namespace, capsys):
    options.list = True
    outcome = grid.measure({"one": fails}, options)
    assert (outcome.found, outcome.failed, outcome.code) == ({}, {}, 0)
    assert "0 of 1 cells; missing:\n  one\n" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        grid.run({"one": fails}, options)
    assert ended.value.code == 0


def test_other_data_or_dials_are_another_cell(tmp_path: Path):
    name = grid.named("epoch-1", {"dim": 8, "seconds": 0.5}, (1, 2))
    assert name == grid.named("epoch-1", {"seconds": 0.5, "dim": 8}, [1, 2])
    assert name.rpartition("-")[0] == "epoch-1"
    assert len(name) == len("epoch-1-01234567")
    assert name != grid.named("epoch-1", {"dim": 8, "seconds": 0.6}, (1, 2))
    files = [tmp_path / name for name in ("train", "test")]
    for file in files:
        file.write_text(file.name)
    before = grid.digest_of(files)
    moved = tmp_path / "moved"
    moved.write_text("train")
    assert grid.digest_of([moved, files[1]]) == before
    assert grid.digest_of(files[::-1]) != before
    moved.write_text("trains")
    assert grid.digest_of([moved, files[1]]) != before


def test_a_cell_says_of_which_commit_and_processor_it_is(options: Namespace, capsys, monkeypatch):
    checkout = ["a"]
    monkeypatch.setattr(grid, "commit", lambda: checkout[-1])

    def pulled() -> dict[str, float]:
        checkout.append("b")
        return {}

    cells = {"before": dict, "while": pulled, "after": dict}
    found = grid.measure(cells, options).found
    assert found["after"]["processor"] == processor() != ""
    told = {name: cell["commit"] for name, cell in found.items()}
    assert told == {"before": "a", "while": "a..b", "after": "b"}
    [warning] = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warning.startswith("warning: while began at commit a and ended at b")


def test_a_page_prints_every_option_that_is_not_as_it_is_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    parser = grid.arguments("", "docs/benchmarks/none")
    parser.add_argument("--train", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--edge-seeds", type=int, default=3)
    parser.add_argument("--model", nargs="+", default=["transra"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--work", type=Path)

    def given(*asked: str, leave: tuple[str, ...] = ()) -> str:
        return printed.given(parser, parser.parse_args(asked), leave=leave)

    assert given() == given("--edge-seeds", "3", "--minutes", "5") == ""
    assert given("--only", "x", "--list", "--budget-minutes", "3", "--work", "/w") == ""
    asked = ["--edge-seeds", "2", "--model", "a", "b", "--quick", "--minutes", "0.5"]
    told = given(*asked)
    assert told == "--minutes 0.5 --edge-seeds 2 --model a b --quick"
    assert given(*asked, leave=("model", "quick")) == "--minutes 0.5 --edge-seeds 2"
    assert given("--train", "/data/FB15k-237/train.txt") == "--train FB15k-237/train.txt"
    monkeypatch.chdir(tmp_path)
    assert given("--out", str(tmp_path / "docs" / "page")) == "--out docs/page"


def test_a_run_of_fewer_figures_leaves_the_whole_report_as_it_is(tmp_path: Path):
    told = {"metric": "mrr", "value": 0.3, "unit": "share", "split": "test"}
    rows = [Row(model=name, **told) for name in ("a", "b")]
    publish.spare(tmp_path, "told", rows)
    report = orjson.dumps(as_report(rows, {"machine": {}, "commit": "", "dials": {}}))
    (tmp_path / "told.json").write_bytes(report)
    publish.spare(tmp_path, "told", [replace(row, value=0.4) for row in rows])
    with pytest.raises(SystemExit, match=r"has 1 figures that this command lacks, such as mrr / b"):
        publish.spare(tmp_path, "told", rows[:1])
