"""benchmarks/link_prediction.py and what it is made of, on graphs of a few dozen entities."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from planted_graph import planted

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import evaluating
import link_prediction
import timed
from evaluating import measure_evaluation
from models import ARMS, MODELS, chosen, model, transra_dials

from graphsvc.report import rows_of
from kge.memory import Room
from kge.policy import choose
from kge.progress import Progress


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """The planted graph as three files; the test names a stranger and a relation of its own."""
    graph, withheld = planted()

    def line(h: int, r: int, t: int) -> str:
        return f"{graph.ids[h]}\t{('lives in', 'knows')[r]}\t{graph.ids[t]}\n"

    train = zip(graph.head, graph.relation, graph.tail, strict=True)
    parts = {
        "train": "".join(line(*edge) for edge in train),
        "valid": "".join(line(*edge) for edge in withheld[:6]),
        "test": "".join(line(*edge) for edge in withheld[6:]) + "stranger\tmarried to\te7\n",
    }
    given = []
    for name, text in parts.items():
        (tmp_path / f"{name}.tsv").write_text(text)
        given += [f"--{name}", str(tmp_path / f"{name}.tsv")]
    return [*given, "--json", str(tmp_path / "out" / "report.json")]


def run(files: list[str], *more: str) -> dict:
    options = link_prediction.arguments().parse_args([*files, *more])
    link_prediction.run(options)
    return json.loads(options.json.read_text())


def test_two_seeds_become_rows_with_an_interval_and_are_not_trained_again(files, tmp_path: Path):
    more = ("--minutes", "0.01", "--model", "twhin", "--seeds", "2")
    report = run(files, *more)
    rows = {(r.split, r.metric, r.seed): r for r in rows_of(report)}
    for metric in ("mrr", "hits@1", "hits@3", "hits@10"):
        for split in ("test", "valid", "test/relation=lives in", "test/cardinality=n-1/tail"):
            runs = [rows[split, metric, seed].value for seed in (0, 1)]
            whole = rows[split, metric, "all"]
            assert whole.value == pytest.approx(sum(runs) / 2)
            assert whole.lo <= whole.value <= whole.hi
            assert whole.unit == "share"
    # Nothing was learned of a stranger's marriage: 67 candidates are all equal.
    assert rows["test/relation=married to", "mrr", 0].value == pytest.approx(1 / 34)
    assert report["header"]["dials"]["unseen_relations"] == ["married to"]
    for curve in report["curves"].values():
        seconds = [point["seconds"] for point in curve]
        assert len(curve) > 1
        assert seconds == sorted(seconds)
        assert seconds[-1] >= 0.6
    cells = sorted((tmp_path / "out" / "report" / "cells").glob("*.json"))
    assert [cell.name[:12] for cell in cells] == ["twhin-seed0-", "twhin-seed1-"]
    told = [json.loads(cell.read_text()) for cell in cells]
    assert report["header"]["commit"] == ", ".join({cell["commit"] for cell in told})
    assert report["not_measured_alike"] == {}
    before = [cell.stat().st_mtime_ns for cell in cells]
    assert run(files, *more)["rows"] == report["rows"]
    assert [cell.stat().st_mtime_ns for cell in cells] == before


def test_transra_is_what_is_trained_where_nobody_says(files, tmp_path: Path):
    page = tmp_path / "page"
    report = run(files, "--minutes", "0.01", "--page", str(page))
    (row,) = (r for r in rows_of(report) if (r.split, r.metric, r.seed) == ("test", "mrr", "all"))
    assert (row.model, row.lo, row.hi) == ("transra", None, None)
    (curve,) = report["curves"].values()
    assert len(curve) > 1, "validated on the way"
    [cell] = (tmp_path / "out" / "report" / "cells").glob("*.json")
    reciprocal = np.load(cell.with_name(f"{cell.stem}.npy"), allow_pickle=False)
    assert reciprocal.mean() == pytest.approx(row.value, abs=1e-6)
    text = (page / "README.md").read_text()
    assert f"| transra | 0.01 | 0.0 | 1 | {row.value:.4f} |" in text
    assert str(tmp_path) not in text, "a page says nothing of where files lie"


def test_validation_alone_neither_ranks_nor_prints_test(files, tmp_path: Path, capsys):
    more = ("--minutes", "0.005", "--model", "twhin")
    report = run(files, *more, "--split", "valid")
    assert {row.split for row in rows_of(report)} == {"valid"}
    folder = tmp_path / "out" / "report" / "cells"
    [alone] = folder.iterdir()
    assert "-valid-" in alone.name, "and no ranks of the test beside it"
    cell = json.loads(alone.read_text())
    assert (list(cell["splits"]), cell["mrr"]) == (["valid"], cell["splits"]["valid"]["mrr"])
    told = capsys.readouterr().err
    assert "valid" in told
    assert "│ test" not in told
    # The run of both is another one.
    report = run(files, *more, "--page", str(tmp_path / "page"))
    assert {"valid", "test"} < {row.split for row in rows_of(report)}
    assert "│ test" in capsys.readouterr().err, "or the line above says nothing"
    page = (tmp_path / "page" / "README.md").read_text()
    assert "| twhin | 0.005 | 0.0 | 1 |" in page
    assert "The numbers of trials were not equal." in page
    assert len(list(folder.glob("*.json"))) == 2
    with pytest.raises(SystemExit, match="--page should go with --split test"):
        run(files, *more, "--split", "valid", "--page", str(tmp_path / "page"))


def test_a_name_that_is_not_there_is_a_sentence(files, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["link_prediction.py", *files, "--model", "transq"])
    with pytest.raises(SystemExit, match=r"^error: model should be one of transra, .*'transq'$"):
        link_prediction.main()


def test_the_clock_stands_still_while_validation_is_measured():
    graph, _ = planted()

    def train(graph, *, seed, share):
        step = 0
        while share(step) < 1.0:
            time.sleep(0.01)
            step += 1
            yield Progress(step=step, total=9, loss=1.0, note="", so_far=lambda: "half")
        return "whole"

    def validate(scorer) -> float:
        time.sleep(0.05)
        return {"half": 0.5, "whole": 1.0}[scorer]

    begin = time.perf_counter()
    found = timed.run(train, graph, label="", seed=0, seconds=0.3, validate=validate)
    assert found.scorer == "whole"
    assert found.seconds >= 0.3
    # Several validations on the way and one at the end, of 0.05 s each.
    measured = 0.05 * len(found.curve)
    assert time.perf_counter() - begin - found.seconds >= measured
    assert [point["mrr"] for point in found.curve][-2:] == [0.5, 1.0]


def test_the_interval_is_students():
    # Standard deviation 1, t of 2 degrees of freedom 4.303: 4.303 / sqrt(3) = 2.484
    mean, low, high = link_prediction.interval([1.0, 2.0, 3.0])
    assert (mean, low, high) == pytest.approx((2.0, -0.484, 4.484), abs=1e-3)
    assert link_prediction.interval([0.4]) == (0.4, None, None)


def test_every_arm_has_dials_and_every_model_a_way_to_train():
    assert set(ARMS) < set(MODELS)
    graph, _ = planted()
    arms = {name: choose(graph, transra_dials(name, 3)).config for name in ARMS}
    assert arms["transr"].gate_edges == 0.0
    assert arms["both"].gate_edges > 0.0
    assert all(config.seed == 3 for config in arms.values())


def test_the_frame_arm_ends_with_a_refresh_that_keeps_to_the_clock():
    graph, _ = planted()
    done = iter(np.linspace(0.0, 1.2, 61))
    asked = []

    def share(_step):
        asked.append(next(done))
        return float(asked[-1])

    told = list(MODELS["frame"](graph, seed=0, share=share))
    assert [one.step for one in told] == list(range(1, len(told) + 1)), "of both parts together"
    # Five sixths of the time for the first training, and the refresh has the rest.
    [second] = [n for n, one in enumerate(told) if n and one.total != told[n - 1].total]
    assert asked[second] == pytest.approx(5 / 6, abs=0.05)
    assert asked[-1] == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("name", ["frame", "both"])
def test_a_refresh_keeps_the_members_that_the_clock_gave(name: str):
    """With time for members the vectors are longer than a graph alone would have them."""
    graph, _ = planted()
    seconds = 40.0
    done = iter(np.linspace(0.0, 1.2, 151))
    dials = chosen(name, graph, 0, Room(2**32), seconds)["dials"]
    assert dials["members"] > 1, "or this says nothing"
    training = model(name, seconds=seconds)(graph, seed=0, share=lambda _step: float(next(done)))
    looked = 0
    while True:
        try:
            told = next(training)
        except StopIteration as ended:
            scorer = ended.value
            break
        if told.so_far is not None and told.step % 10 == 0:
            looked += bool(told.so_far().candidate_bytes)
    assert looked > 5
    assert scorer.candidate_bytes == (2 * dials["dim"] + 4) * 4


def test_the_first_part_of_a_frame_has_members_by_its_own_share_of_the_clock():
    graph, _ = planted()
    room = Room(2**32)

    def members(name: str, seconds: float) -> int:
        return chosen(name, graph, 0, room, seconds)["dials"]["members"]

    least = next(s for s in np.arange(0.5, 60.0, 0.5) if members("transr", float(s)) == 2)
    assert members("frame", float(least)) == 1, "five sixths of that are not enough"
    assert members("frame", float(least) * 6 / 5) == 2


def test_what_does_not_fit_into_memory_fails_alone(files, monkeypatch):
    """TransRA does not begin; its rival, which keeps to no room, has its turn all the same."""
    given = ("--minutes", "0.005", "--memory", "1MiB", "--model", "transra", "twhin")
    monkeypatch.setattr(sys, "argv", ["link_prediction.py", *files, *given])
    with pytest.raises(SystemExit) as ended:
        link_prediction.main()
    assert ended.value.code == 1
    options = link_prediction.arguments().parse_args([*files, *given])
    report = json.loads(options.json.read_text())
    assert {row.model for row in rows_of(report)} == {"twhin"}
    outcome = link_prediction.run(options)
    [(cell, message)] = outcome.failed.items()
    assert cell.startswith("transra-seed0-")
    assert "received 1 MiB" in message


def test_all_is_what_can_be_trained_here(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "dgl", None)  # as where it is not installed
    options = link_prediction.arguments().parse_args([*files, "--model", "all", "--list"])
    outcome = link_prediction.run(options)
    assert (outcome.found, outcome.failed) == ({}, {})
    assert options.model == [name for name in MODELS if name != "graphsage-dgl"]
    told = capsys.readouterr().err
    assert "left out: graphsage-dgl: backend should be pyg where DGL does not load" in told
    assert not options.json.exists(), "a listing writes no report"


def test_the_evaluation_cell_compares_the_same_ranks():
    found = measure_evaluation(entities=60, relations=4, triples=1000, sample=640)
    # Sums in another order decide some near ties the other way, by one place.
    assert found["ranks_that_differ"] < 0.05
    assert found["ranks_apart"] <= 1.5
    assert found["ratio_lowest"] <= found["ratio"] <= found["ratio_highest"]
    assert (found["triples"], found["pykeen_triples"]) == (1000, 640)
    assert found["ratio"] > 0


def test_what_a_call_costs_once_is_not_in_the_speed_of_ranking(monkeypatch):
    asked = np.zeros((40, 3), dtype=np.int64)
    found = evaluating._further(lambda some: time.sleep(0.05 + 0.001 * len(some)), asked)
    # Two queries a triple, a millisecond a triple; with its fixed cost it would be 890.
    assert found.per_second == pytest.approx(2000, rel=0.3)
    monkeypatch.setattr(evaluating, "MOST_TRIES", 4)
    with pytest.raises(ValueError, match=r"received 40 in .* s and 10 in"):
        evaluating._further(lambda some: time.sleep(0.001 * (50 - len(some))), asked)
