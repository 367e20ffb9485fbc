"""benchmarks/ctr_flops.py: every kind of cell in small, what waits for what, and its page."""

import argparse
import json
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import ctr_cells
import ctr_flops
import ctr_model
import ctr_pages
import ctr_peers
import grid
from ctr_cells import BETTER, Bench, NotYet, kept
from ctr_data import Clicks
from ctr_model import CtrDials
from ctr_spans import TEST
from ctr_why import AS_CHOSEN, VARIANTS

from graphsvc.report import Row, rows_of

USERS, ROWS = 20, 20


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """400 clicks of 20 users, and of the arms the fewest that need each other."""
    rng = np.random.default_rng(0)
    lines = ["user,item,shop,click,time"]
    for time in range(ROWS):
        for user in range(USERS):
            item = int(rng.integers(6))
            click = int(rng.random() < (0.8 if (user + item) % 2 else 0.2))
            lines.append(f"u{user},i{item},s{item % 3},{click},{time}")
    file = tmp_path / "clicks.csv"
    file.write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(ctr_cells, "SCREENED", ("ml_dcn", "dcn_v2", *ctr_cells.MASK_NETS))
    monkeypatch.setattr(ctr_cells, "RUN", ("ml_dcn", "dcn_v2", BETTER, "ml_dcn-constant"))
    monkeypatch.setattr(ctr_cells, "VARIANTS", {n: VARIANTS[n] for n in (AS_CHOSEN, "no-mask")})
    monkeypatch.setattr(ctr_cells, "SCREEN_SEEDS", 1)
    monkeypatch.setattr(ctr_cells, "WHOLE_FROM", 2)
    monkeypatch.setattr(ctr_model, "latency", partial(ctr_model.latency, runs=5))
    given = f"--format table --data {file} --name shop --label click --user user --item item"
    given += f" --time time --fields shop --out {tmp_path / 'out'} --work {tmp_path / 'work'}"
    given += " --times 1 2 --trials 2 --seeds 2 --embedding 4 --hidden 8 --batch 64 --epochs 2"
    return ctr_flops.arguments(given.split())


@pytest.fixture
def bench(options: argparse.Namespace) -> Bench:
    return ctr_flops.bench_of(options)


def measured(bench: Bench, mode: str) -> Mapping[str, Mapping[str, Any]]:
    outcome = grid.measure(ctr_flops.cells(bench, mode), bench.options, (NotYet,))
    assert outcome.failed == {}
    return outcome.found


def whole(rows: list[Row]) -> dict[tuple[str, str, str], Row]:
    return {(r.metric, r.model, r.split): r for r in rows if r.seed == "all"}


@pytest.mark.slow
def test_all_cells_become_rows_a_page_and_pictures(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_grid = measured(bench, "grid")
    check_trials(bench, whole_grid)
    found = whole_grid | measured(bench, "why") | measured(bench, "peers")
    ctr_flops.write(bench)
    out = bench.options.out
    rows = rows_of(orjson.loads((out / "ctr_flops.json").read_bytes()))
    means = whole(rows)
    for times in ("1x", "2x"):
        ours, theirs = (
            means["auc", arm, f"{times}/test"].value for arm in ("ml_dcn", "ml_dcn-constant")
        )
        for over in ("seeds", "users"):
            apart = means[
                f"auc_difference_over_{over}", "ml_dcn - ml_dcn-constant", f"{times}/test"
            ]
            assert apart.value == pytest.approx(ours - theirs)
            assert apart.lo <= apart.value <= apart.hi
    check_history(whole_grid, means["auc", "ml_dcn", "1x/test/history=5+"].value)
    page = (out / "README.md").read_text()
    assert "Every arm had 2 trials on VALID" in page
    assert "| ml_dcn - dcn_v2 | 1x | 2 |" in page
    assert "| no-mask |" in page
    assert "## Beside FuxiCTR" not in page, "there are no runs of it"
    named = {"mask_net_serial", "mask_net_parallel"}
    assert len([one for one in named if f"| ml_dcn - {one} | 2x |" in page]) == 1
    for picture in ("auc.png", "why.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")

    def trains(*_: object) -> None:
        raise AssertionError("nothing is trained again")

    monkeypatch.setattr(ctr_model, "train", trains)
    assert measured(bench, "grid") | measured(bench, "why") | measured(bench, "peers") == found


def check_history(found: Mapping[str, Mapping[str, Any]], told: float) -> None:
    """The mean over the seeds of the AUC of those rows."""
    runs = [cell for name, cell in found.items() if name.startswith("run-ml_dcn-1x-")]
    assert len(runs) == 2
    assert told == pytest.approx(np.mean([cell["auc_by_history"]["5+"] for cell in runs]))


def test_a_history_is_the_auc_of_its_rows_alone() -> None:
    """Of those without a click before the order is right, of those with seven it is wrong."""
    codes = np.zeros((4, 1), np.int32)
    label, span = np.array([0, 1, 0, 1], np.int8), np.full(4, TEST, np.int8)
    past = np.array([0, 0, 7, 7])
    clicks = Clicks(codes, label, span, codes[:, 0], past, {"user": 1}, "users")
    scores = np.array([0.1, 0.2, 0.4, 0.3])
    assert ctr_cells._by_history(clicks, scores) == {"0": 1.0, "5+": 0.0}
    assert ctr_cells._by_history(clicks._replace(clustered_by="rows"), scores) == {}


def check_trials(bench: Bench, found: Mapping[str, Mapping[str, Any]]) -> None:
    """All arms have as many trials, and none of these saw TEST."""
    trials: dict[tuple[str, float], list[Any]] = {}
    for name, cell in found.items():
        if name.startswith("trial-"):
            trials.setdefault((cell["arm"], cell["times"]), []).append(cell)
        assert ("auc" in cell) == name.startswith("run-"), "TEST is for runs alone"
    # At 1x both MaskNets have trials of their own, and the better one needs no further ones.
    at_one = {"ml_dcn", "dcn_v2", "ml_dcn-constant", "mask_net_serial", "mask_net_parallel"}
    assert {arm for arm, times in trials if times == 1} == at_one
    assert {arm for arm, times in trials if times == 2} == {*ctr_cells.RUN, ctr_cells.WHOLE}
    for cells in trials.values():
        assert [cell["number"] for cell in cells] == [0, 1]
    for name, cell in found.items():
        if name.startswith("run-"):
            best = bench.chosen(cell["arm"], cell["times"])
            assert best["valid_auc"] == max(
                bench.told(trial)["valid_auc"] for trial in bench.trials(cell["arm"], cell["times"])
            )
            assert cell["dials"] == best["dials"]
            drawn = kept(bench.options.out, name)
            assert drawn.auc[0] == pytest.approx(cell["auc"], abs=1e-6)
            assert drawn.logloss[0] == pytest.approx(cell["logloss"], abs=1e-6)
    screened = {
        one: np.mean([c["valid_auc"] for n, c in found.items() if n.startswith(f"screen-{one}-")])
        for one in ctr_cells.MASK_NETS
    }
    assert bench.resolved(BETTER) == max(screened, key=lambda one: screened[one])


def test_the_reference_adds_both_rates_up() -> None:
    codes = np.array([[1, 0], [0, 1], [2, 2], [0, 0]], np.int32)
    label, span = np.array([0, 1, 1, 0], np.int8), np.full(4, TEST, np.int8)
    sizes = {"user_rate": 3, "item_rate": 3}
    clicks = Clicks(codes, label, span, codes[:, 0], np.zeros(4, np.int64), sizes, "users")
    [row] = ctr_pages.reference(clicks)
    assert row.value == 0.875, "of the pairs of 1, 4 and 1, 0 one is a tie"
    assert ctr_pages.reference(clicks._replace(sizes={"user": 3, "item": 3})) == []


def test_a_run_waits_for_the_trials_that_it_is_chosen_from(bench: Bench) -> None:
    asked = bench.options
    asked.only = "run-dcn_v2-1x-1"
    outcome = grid.measure(ctr_flops.cells(bench, "grid"), asked, (NotYet,))
    [(name, message)] = outcome.failed.items()
    assert name.startswith("run-dcn_v2-1x-1-")
    assert message.startswith("cells trial-dcn_v2-1x-0-")
    assert message.endswith("should be measured first")


def test_cells_of_other_dials_have_other_names(options: argparse.Namespace) -> None:
    def names(**changed: object) -> set[str]:
        asked = argparse.Namespace(**vars(options) | changed)
        bench = ctr_flops.bench_of(asked)
        return {name for mode in ctr_flops.MODES for name in ctr_flops.cells(bench, mode)}

    before = names()
    assert names() == before
    assert not before & names(embedding=8)
    assert not before & names(min_rows=3)
    more = before & names(trials=3)
    assert {name.partition("-")[0] for name in more} == {"trial", "peer"}, "trials stay"
    assert before < names(seeds=3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--format csv", "--format should be one of movielens, retailrocket, criteo"),
        ("--format criteo", "--data should name what to read"),
        ("--format table --data x --user u", "--label should name a column"),
        ("--format table --data x --label y", "--user or --fields should name columns"),
        ("--seeds 12", "--seeds from 1 to 11"),
        ("--split random", "--split should be per_user_time or global_time"),
    ],
)
def test_a_wrong_option_is_a_sentence(given: str, message: str, capsys) -> None:
    with pytest.raises(SystemExit):
        ctr_flops.arguments(given.split())
    assert message in capsys.readouterr().err


def test_without_users_time_is_cut_for_all_together() -> None:
    table = ["--format", "table", "--data", "x", "--label", "y"]
    options = ctr_flops.arguments([*table, "--fields", "a", "b"])
    assert options.split == "global_time"
    assert ctr_flops.arguments(["--format", "avazu", "--data", "x"]).split == "global_time"
    assert ctr_flops.arguments([]).split == "per_user_time"


def test_changes_are_paired_by_seed() -> None:
    cells = {
        f"why-{variant}-{seed}": {"variant": variant, "seed": seed, "valid_auc": value}
        for variant, values in ((AS_CHOSEN, (0.7, 0.8)), ("no-LN", (0.69, 0.77, 0.1)))
        for seed, value in enumerate(values, 1)
    }
    [row] = ctr_pages.changes(cells)
    # -.01 and -.03: mean -.02, 12.706 * .01414 / sqrt(2) = .127
    assert row.value == pytest.approx(-0.02)
    assert (row.lo, row.hi) == pytest.approx((-0.02 - 0.12706, -0.02 + 0.12706), abs=1e-4)
    assert row.model == f"no-LN - {AS_CHOSEN}"


def test_fuxictr_gets_the_split_and_the_dials(bench: Bench, tmp_path: Path) -> None:
    ctr_peers.export(bench.clicks, bench.base, 2, tmp_path, "peers-1")
    told = json.loads((tmp_path / "split.json").read_text())
    assert told["sizes"] == dict(bench.clicks.sizes)
    assert (told["embedding"], told["hidden"], told["seeds"]) == (4, 8, [1, 2])
    assert told["key"] == "peers-1"
    with np.load(tmp_path / "split.npz") as split:
        rows = sum(len(split[f"{span}_label"]) for span in ("train", "valid", "test"))
        assert rows == USERS * ROWS
        test = bench.clicks.rows(TEST)
        assert np.array_equal(split["test_codes"], bench.clicks.codes[test])
    width = 192
    for name in ctr_peers.NAMES:
        dials = ctr_peers.dials(name, width, CtrDials())
        assert (dials.plain, dials.dropout, dials.weight_decay) == (True, 0.0, 0.0)
    masked = ctr_peers.dials("MaskNet", width, CtrDials()).crossing
    assert round(masked.hidden_share * width) == ctr_peers.BLOCK_WIDTH


def test_runs_of_fuxictr_with_other_dials_are_left_out(tmp_path: Path) -> None:
    assert ctr_peers.theirs(tmp_path, "peers-1") == []
    run = {"peer": "DCNv2", "seed": 1, "auc": 0.7, "logloss": 0.5}
    (tmp_path / ctr_peers.FILE).write_text(json.dumps({"key": "peers-1", "runs": [run]}))
    assert ctr_peers.theirs(tmp_path, "peers-1") == [run]
    assert ctr_peers.theirs(tmp_path, "peers-2") == []


def test_within_noise_is_welchs_interval() -> None:
    def runs(*aucs: float) -> list[dict[str, Any]]:
        return [
            {"peer": "DCNv2", "seed": seed, "auc": value, "logloss": 1 - value}
            for seed, value in enumerate(aucs, 1)
        ]

    ours, theirs = runs(0.70, 0.72, 0.74), runs(0.71, 0.73, 0.75)
    gap = next(ctr_peers.gaps(ours, theirs))
    assert (gap.model, gap.metric) == ("DCNv2", "auc")
    # Equal deviations of .02: error sqrt(2 * .02^2 / 3) = .01633, 4 degrees, 2.776
    assert gap.ours - gap.theirs == pytest.approx(-0.01)
    assert (gap.low, gap.high) == pytest.approx((-0.01 - 0.04534, -0.01 + 0.04534), abs=1e-4)
    assert "| DCNv2 | auc | 0.7200 | 0.7300 | -0.0100 |" in ctr_pages.peers_section(ours, theirs)
    assert list(ctr_peers.gaps(ours, theirs[:1])) == []
