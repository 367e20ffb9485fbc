"""The page of link prediction, of cells that are made by hand: no model is trained here."""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import link_pages
from differences import ahead
from link_cells import cell_name, read, write_ranks
from link_pictures import together

from graphsvc.report import rows_of

FILES, OTHER = "0123abcd", "fedc9876"
TRIPLES = 40
COMMAND = ".venv/bin/python benchmarks/link_prediction.py --train data/train.txt"


def put(folder: Path, model: str, seed: int, rank: float, **more) -> None:
    """A cell whose ranks are about `rank`, some of them one more."""
    minutes, digest = more.get("minutes", 10.0), more.get("digest", FILES)
    ranks = rank + np.random.default_rng(seed).integers(2, size=(2, TRIPLES)).astype(float)
    name = cell_name(model, seed, minutes, digest, memory=more.get("memory"))
    if more.get("keep", True):
        write_ranks(folder / f"{name}.npy", ranks[0], ranks[1])
    mrr = float((1.0 / ranks).mean())
    figures = {"mrr": mrr, "hits@1": 0.0, "hits@3": 1.0, "hits@10": 1.0}
    parts = {
        "relation=a|b": 2 * TRIPLES - 10,
        "relation=rare": 10,
        "cardinality=1-n/tail": TRIPLES,
        "degree=20-99": TRIPLES,
        "degree=1-4": TRIPLES,
    }
    cell = {
        "model": model,
        "seed": seed,
        **figures,
        "training_seconds": 60 * minutes,
        "commit": more.get("commit", "c0ffee"),
        "processor": more.get("processor", "x86"),
        "dials": more.get("dials", {}),
        "splits": {
            "test": figures,
            "valid": figures,
            **{f"test/{part}": figures | {"ranks": count} for part, count in parts.items()},
        },
        "curve": [{"seconds": s * minutes, "mrr": mrr * s / 60} for s in (6 + seed, 30, 60)],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(cell))


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    folder = tmp_path / "cells"
    for seed in range(3):
        put(folder, "transra", seed, 2.0)
        put(folder, "transr", seed, 3.0)
        put(folder, "complex", seed, 2.0, keep=False)
        put(folder, "rotate", seed, 4.0)
    put(folder, "transra", 0, 1.0, minutes=45.0)
    put(folder, "rotate", 0, 2.0, minutes=45.0)
    put(folder, "twhin", 0, 9.0, digest=OTHER)
    return folder


def lines_of(text: str, head: str) -> list[list[str]]:
    """The rows of the table whose first column has this name."""
    lines = text.splitlines()
    begin = next(n for n, line in enumerate(lines) if line.startswith(f"| {head} |"))
    end = next((n for n in range(begin, len(lines)) if not lines[n]), len(lines))
    return [[cell.strip() for cell in line[1:-1].split(" | ")] for line in lines[begin + 2 : end]]


def test_runs_of_any_length_are_read_together_and_those_of_other_files_are_not(cells: Path):
    runs = read(cells, FILES)
    assert [(run.model, run.minutes, len(run.cells), len(run.ranks)) for run in runs] == [
        ("transra", 45.0, 1, 1),
        ("rotate", 45.0, 1, 1),
        ("complex", 10.0, 3, 0),
        ("transra", 10.0, 3, 3),
        ("transr", 10.0, 3, 3),
        ("rotate", 10.0, 3, 3),
    ]
    assert runs[0].ranks[0].dtype == np.float32
    assert runs[0].ranks[0].shape == (2, TRIPLES)


def test_a_length_may_have_a_point_in_it(tmp_path: Path):
    put(tmp_path, "graphsage-dgl", 12, 2.0, minutes=0.25)
    [run] = read(tmp_path, FILES)
    assert (run.model, run.minutes, list(run.cells)) == ("graphsage-dgl", 0.25, [12])
    assert list(run.ranks) == [12], "its ranks lie beside it"


def test_memory_that_was_set_is_in_the_name_and_apart_from_the_rest(cells: Path, tmp_path: Path):
    room = 8 << 30
    assert cell_name("transra", 0, 10.0, FILES) == f"transra-seed0-10m-{FILES}", "as before"
    name = cell_name("transra+dim=16", 3, 0.5, FILES, memory=room)
    assert name == f"transra+dim=16-seed3-0.5m-8GiB-{FILES}"
    assert cell_name("transr", 0, 1.0, FILES, memory=1500) == f"transr-seed0-1m-1500B-{FILES}"
    rival = cell_name("rotate", 0, 10.0, FILES, memory=room)
    assert rival == cell_name("rotate", 0, 10.0, FILES), "it keeps to no memory"
    for seed in range(3):
        put(cells, "transra", seed, 5.0, memory=room)
    found = {run.name: run for run in read(cells, FILES) if run.minutes == 10.0}
    assert set(found) == {"transra", "transra in 8GiB", "transr", "complex", "rotate"}
    assert found["transra"].mrr > 2 * found["transra in 8GiB"].mrr
    link_pages.write(tmp_path / "page", read(cells, FILES), COMMAND, {})
    text = (tmp_path / "page" / "README.md").read_text()
    pairs = {(row[0], row[1]): row[-1] for row in lines_of(text, "difference")}
    assert pairs["transra - rotate", "10"] == "ahead"
    assert pairs["transra in 8GiB - rotate", "10"] == "behind"
    assert ("transra in 8GiB - transr", "10") not in pairs, "in another memory"
    assert "- `--minutes 10 --model transra --seeds 3 --memory 8GiB`" in text


def test_seeds_of_one_interval_that_were_not_measured_alike_are_told(cells: Path, tmp_path: Path):
    for seed, batch in ((0, 1024), (1, 1024), (2, 512)):
        more = {
            "commit": "c0ffee" if seed else "beef..c0de",
            "processor": "x86" if seed else "arm",
            "dials": {"batch": batch, "seed": seed},
        }
        put(cells, "transr", seed, 3.0, **more)
    link_pages.write(tmp_path / "page", read(cells, FILES), COMMAND, {})
    text = (tmp_path / "page" / "README.md").read_text()
    assert re.search(r"at commit beef..c0de, c0ffee on \d+ cores \(arm; x86\)", text)
    told = text.split("they have no interval:")[1].split("\n\n")[1]
    assert told == (
        "- `transr, 10 min`: commit beef..c0de (seed 0), c0ffee (seed 1), c0ffee (seed 2); "
        "processor arm (seed 0), x86 (seed 1), x86 (seed 2); "
        "batch 1024 (seed 0), 1024 (seed 1), 512 (seed 2)"
    )


def test_ranks_of_another_run_are_refused(cells: Path):
    name = cell_name("rotate", 1, 10.0, FILES)
    write_ranks(cells / f"{name}.npy", np.full(TRIPLES, 2.0), np.full(TRIPLES, 5.0))
    with pytest.raises(SystemExit, match=r"rotate-seed1.*should have the MRR of its cell"):
        read(cells, FILES)


def test_the_page_has_all_models_classes_degrees_relations_and_pictures(
    cells: Path, tmp_path: Path
):
    folder = tmp_path / "page"
    link_pages.write(folder, read(cells, FILES), COMMAND, {})
    text = (folder / "README.md").read_text()
    models = lines_of(text, "model")
    assert [row[:4] for row in models[:2]] == [
        ["transra", "45", "45.0", "1"],
        ["rotate", "45", "45.0", "1"],
    ]
    by_name = {(row[0], row[1]): row for row in models}
    assert "±" not in by_name["transra", "45"][4]
    assert "±" in by_name["transra", "10"][4]
    assert "twhin" not in text
    [row] = lines_of(text, "relation/asked for")
    assert row[:2] == ["1-n/tail", "40"]
    assert row[2].startswith("**"), "the highest of a row"
    assert not row[3].startswith("**")
    degrees = lines_of(text, "training triples")
    assert [row[0] for row in degrees] == ["1-4", "20-99"], "not 20-99 before 1-4"
    relations = lines_of(text, "relation")
    assert [row[:2] for row in relations] == [["a\\|b", "70"], ["rare", "10"]]
    assert "| relation | ranks | transra | rotate | difference |" in text
    assert "| relation | ranks | transra | complex | difference |" in text
    assert "- `--minutes 45 --model rotate transra --seeds 1`" in text
    assert text.count(COMMAND) >= 5, "above each"
    assert re.search(r"at commit c0ffee on \d+ cores \(x86\)", text)
    assert "not measured alike" not in text
    for picture in ("curves.png", "degree.png"):
        assert f"]({picture})" in text
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_ahead_is_what_both_intervals_say(cells: Path, tmp_path: Path):
    folder = tmp_path / "page"
    link_pages.write(folder, read(cells, FILES), COMMAND, {})
    shown = {
        (row[0], row[1]): row[2:]
        for row in lines_of((folder / "README.md").read_text(), "difference")
    }
    assert set(shown) == {
        ("transra - rotate", "45"),
        ("transra - transr", "10"),
        ("transra - rotate", "10"),
    }, "complex kept no ranks"
    assert shown["transra - transr", "10"][-1] == "ahead"
    assert shown["transra - rotate", "45"][-1] == "not decided", "one seed says little"
    rows = rows_of(json.loads((folder / "differences.json").read_text()))
    over = {(r.metric, r.model, r.split) for r in rows}
    assert ("mrr_difference_over_seeds", "transra - transr", "test/minutes=10") in over
    assert ("mrr_difference_over_seeds", "transra - rotate", "test/minutes=45") not in over
    assert ("mrr_difference_over_triples", "transra - rotate", "test/minutes=45") in over
    assert all(row.lo < row.value < row.hi for row in rows)


def runs(*ranks: Sequence[float]) -> list[np.ndarray]:
    """Reciprocal ranks, a run each; both ends have the same."""
    return [np.tile(np.array(run, np.float32), (2, 1)) for run in ranks]


def test_the_bootstrap_is_over_triples_and_paired():
    draw = np.random.default_rng(1)
    hard = draw.random(400).astype(np.float32)
    # What makes a triple hard is the same for both: the difference is known far better than either.
    found = ahead(runs(hard + 0.01, hard + 0.02), runs(hard, hard))
    assert found.value == pytest.approx(0.015)
    assert found.by_triple == pytest.approx((0.015, 0.015), abs=1e-6)
    # By hand: +-0.1 in half of 400 triples each has a standard error of .1 / 20 = .005.
    noise = np.where(np.arange(400) % 2, 0.1, -0.1)
    low, high = ahead(runs(hard + noise), runs(hard)).by_triple
    assert (low, high) == pytest.approx((-0.0098, 0.0098), abs=1e-3)
    assert ahead(runs(hard + noise), runs(hard)).by_triple == (low, high), "drawn by a fixed seed"


def test_neither_interval_alone_decides():
    draw = np.random.default_rng(2)
    zero, noise = np.zeros(100), draw.normal(size=100)
    noise -= noise.mean()
    steady = ahead(runs(zero + 0.1, zero + 0.1001, zero + 0.1002), runs(zero, zero, zero))
    assert steady.decided == "ahead"
    worse = ahead(runs(zero, zero, zero), runs(zero + 0.1, zero + 0.1001, zero + 0.1002))
    assert worse.decided == "behind"
    # The seeds agree, the triples do not: a few of them carry it all.
    by_triple = ahead(runs(noise + 0.1, noise + 0.1001, noise + 0.1002), runs(zero, zero, zero))
    assert min(by_triple.by_seed) > 0
    assert by_triple.decided == "not decided"
    # The triples agree, the seeds do not.
    by_seed = ahead(runs(zero + 0.2, zero + 0.1, zero - 0.05), runs(zero, zero, zero))
    assert min(by_seed.by_triple) > 0
    assert by_seed.decided == "not decided"


def test_curves_of_several_seeds_meet_at_the_same_moments(cells: Path):
    run = next(r for r in read(cells, FILES) if (r.model, r.minutes) == ("transra", 10.0))
    minutes, values = together(run)
    assert values.shape == (3, len(minutes))
    # From the last of the first points on to where all end; the curves are straight lines.
    assert (minutes[0], minutes[-1]) == pytest.approx((8 * 10 / 60, 10.0))
    last = [cell["mrr"] for cell in run.cells.values()]
    np.testing.assert_allclose(values, np.outer(last, minutes / 10.0), rtol=1e-6)


def test_a_page_of_nothing_is_a_sentence(tmp_path: Path):
    with pytest.raises(SystemExit, match="no cell of these files"):
        link_pages.write(tmp_path, read(tmp_path, OTHER), COMMAND, {})
