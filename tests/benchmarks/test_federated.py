"""benchmarks/federated.py: problems whose optimum is known, fair trials, a race in small."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import fed_pages
import fed_problems
import fed_race
import federated
import grid
from fed_problems import by_dirichlet, convex, digits, newton
from fed_race import Arm, Trial, arms, best_trial, first_at, merit, run, trial

from graphsvc.report import Row
from ranking.fedda.config import MethodConfig, RoundsConfig
from ranking.fedda.traffic import Traffic

SHORT = RoundsConfig(rounds=4, steps=2)


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    given = ["--out", str(tmp_path), "--seeds", "2", "--trials", "2", "--best", "2"]
    given += ["--sets", "convex", "digits-0.5"]
    given += ["--convex-rounds", "3", "--convex-steps", "2"]
    given += ["--digit-rounds", "2", "--digit-steps", "1", "--alphas", "0.5"]
    return federated.arguments().parse_args(given)


def test_newton_comes_to_where_the_gradient_is_zero():
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, generator=draw, dtype=torch.float64)
    y = torch.sign(x[:, 0] + 0.5 * torch.randn(60, generator=draw, dtype=torch.float64))
    w = newton(x, y).requires_grad_()
    loss = torch.log1p(torch.exp(-y * (x @ w))).mean() + fed_problems.RIDGE / 2 * (w @ w)
    [gradient] = torch.autograd.grad(loss, w)
    assert float(gradient.abs().max()) < 1e-12


def test_the_optimum_is_worth_1_and_the_start_0():
    problem = convex(1)
    assert problem.worth(problem.start)["reached"] == 0.0
    clients = problem.central()
    cohort = clients.cohort(np.arange(1), number=1, steps=1)
    w = problem.start
    for _ in range(1500):
        w = w - 0.6 * cohort.whole(w[None])[0]
    assert problem.worth(w)["reached"] == pytest.approx(1.0, abs=1e-6)
    assert problem.worth(w)["distance"] < 1e-2


def test_clients_and_center_have_the_same_rows():
    problem = convex(2)
    apart, central = problem.clients(), problem.central()
    assert int(apart.rows.sum()) == int(central.rows.sum())
    w = torch.linspace(-1, 1, len(problem.start), dtype=torch.float64)
    cohort = apart.cohort(np.arange(apart.count), number=1, steps=1)
    each = cohort.whole(w.expand(apart.count, -1))
    mean = cohort.summed(each, cohort.shares(w), len(w))
    whole = central.cohort(np.arange(1), number=1, steps=1).whole(w[None])[0]
    torch.testing.assert_close(mean, whole, rtol=1e-10, atol=1e-12)


def test_dirichlet_deals_out_every_row_once():
    labels = np.repeat(np.arange(10), 100)
    even = by_dirichlet(labels, 20, 100.0, np.random.default_rng(0))
    assert np.bincount(even).min() > 20
    uneven = by_dirichlet(labels, 20, 0.1, np.random.default_rng(0))
    assert np.bincount(uneven).min() >= 1, "who has no row is no client"
    of_one = [np.bincount(labels[uneven == k]).max() / (uneven == k).sum() for k in set(uneven)]
    assert np.mean(of_one) > 0.5, "most rows of a client are of one label"


def test_digits_start_the_same_and_know_nothing():
    problem = digits(1, 0.5)
    again = digits(1, 0.5)
    torch.testing.assert_close(problem.start, again.start, rtol=0.0, atol=0.0)
    assert set(problem.worth(problem.start)) == {"score", "reached"}
    assert problem.worth(problem.start)["reached"] < 0.5
    assert int(problem.clients().rows.sum()) == int(problem.central().rows.sum()) == 1078


def test_all_methods_take_part_once():
    names = list(arms())
    assert len(names) == len(set(names)) == 14 + 9


def test_trials_draw_the_same_for_all():
    plain = Arm(name="fedavg", method=MethodConfig(method="fedavg"))
    other = Arm(name="scaffold", method=MethodConfig(method="scaffold"))
    assert trial(plain, 3, SHORT).method.rate == trial(other, 3, SHORT).method.rate
    assert trial(plain, 3, SHORT) == trial(plain, 3, SHORT)
    rates = {trial(plain, number, SHORT).method.rate for number in range(8)}
    assert len(rates) == 8
    assert trial(plain, 3, SHORT).rounds == SHORT, "no rival has an end phase"


def test_fewest_rounds_win_then_the_last_score():
    assert first_at([0.1, 0.5, 0.4, 0.9], 0.5) == 1
    assert first_at([0.1, 0.2], 0.5) is None
    assert merit([0.0, 0.9, 0.1], 0.5) > merit([0.0, 0.0, 1.0], 0.5)
    assert merit([0.0, 0.5], 0.5) > merit([0.0, 0.4999], 0.5)
    assert merit([0.0, 0.3], 0.5) > merit([0.0, 0.2], 0.5)
    assert merit([0.0, 0.2], 0.5) > merit([0.0, float("nan")], 0.5)


def test_a_run_that_blows_up_ends():
    rates = MethodConfig(method="fedavgm", rate=1e200, momentum=0.9)
    done = run(convex(1), Trial(rates, RoundsConfig(rounds=50, steps=3)))
    assert len(done.figures) < 51


def test_the_best_trial_is_the_best():
    arm, problem = Arm(name="fedavg", method=MethodConfig(method="fedavg")), convex(0)
    chosen = best_trial(problem, arm, SHORT, trials=4, target=float("inf"))
    lasts = [run(problem, trial(arm, n, SHORT)).all("score")[-1] for n in range(4)]
    assert chosen.last == max(lasts)
    assert chosen.rounds is None


def test_bytes_add_up_over_rounds():
    tried = Trial(MethodConfig(method="fedavg", rate=0.1), SHORT)
    done = run(convex(1), tried)
    # 20 clients, 20 numbers of 4 bytes each way; 8 bytes more from each.
    assert done.traffic[-1] == Traffic(4 * 20 * 80, 4 * 20 * 88)


@pytest.mark.slow
def test_the_whole_of_it_in_small(options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        fed_pages, "BIAS_DIALS", fed_pages.BIAS_DIALS | {"local": 3, "end": 2, "steps": 2}
    )
    outcome = federated.everything(options)
    assert outcome.failed == {}
    # Two of the bias; the center and 23 methods; the center and two of them.
    assert len(outcome.found) == 2 + 24 + 3
    federated.write(outcome.found, options)
    page = (options.out / "README.md").read_text()
    assert "| fedda carried sgdm |" in page
    assert "## digits-0.5" in page
    assert {"bias.png", "race.png", "federated.json"} <= {f.name for f in options.out.iterdir()}
    rows = fed_pages.rows_of(outcome.found)
    ratios = {(r.split, r.model): r.value for r in rows if r.metric == "bytes_ratio"}
    carried = ratios["convex, a local round, sgdm", "fedda carried sgdm / fedavg"]
    assert carried == pytest.approx((2 * 80 + 2 * 80 + 8) / 168)


def test_a_method_waits_for_the_center(options: argparse.Namespace):
    one = federated.sets(options)["convex"]
    with pytest.raises(federated.NotYet, match="trained centrally first"):
        federated.measure(options, one, arms()["fedavg"])


def race(rounds: int | None) -> dict:
    took = None if rounds is None else {"rounds": rounds, "bytes": 10, "gradients": 20}
    return {
        "took": {f"{share:g}": took for share in fed_race.SHARES},
        "rounds": 100,
        "local_bytes": 4,
        "last": {"reached": 0.5},
        "curve": [],
    }


def cell(arm: str, rounds: list[int | None], took: int | None = None) -> dict:
    tried = {"took": took, "last": 0.5, "method": {"optimizer": "sgdm"}}
    races = {str(seed): race(one) for seed, one in enumerate(rounds, 1)}
    return {"set": "convex", "arm": arm, "tried": tried, "races": races}


def ratio(rows: list[Row]) -> tuple[str, float]:
    [mean] = [r for r in rows if r.metric == "rounds_ratio" and r.seed == "all"]
    return mean.model, mean.value


def test_the_ratio_is_of_our_choice_by_trials_and_the_best_rival_of_the_race():
    found = {
        "a": cell("fedda carried sgdm", [10, 10], took=30),
        "b": cell("fedda frozen sgdm", [20, 40], took=20),
        "c": cell("fedavg", [40, 40]),
        "d": cell("scaffold", [20, 20]),
    }
    assert ratio(fed_pages.rows_of(found)) == ("fedda frozen sgdm / scaffold", 1.5)


def test_who_never_arrives_has_surely_lost_and_a_rival_just_about():
    found = {
        "a": cell("fedda carried sgdm", [50, 50], took=1),
        "b": cell("fedavg", [None, None]),
    }
    assert ratio(fed_pages.rows_of(found))[1] == 0.5
    found = {"a": cell("fedda carried sgdm", [None, None]), "b": cell("fedavg", [100, 100])}
    assert ratio(fed_pages.rows_of(found))[1] == 10.0


def test_the_best_go_on_with_fedavg_among_them(options: argparse.Namespace):
    found = {
        "a": cell("fedda carried sgdm", [10, 10]),
        "b": cell("scaffold", [5, None]),
        "c": cell("fedavg", [90, 90]),
        "d": cell("fedcm", [8, 8]),
        "e": cell(fed_race.CENTRAL, [1, 1]),
    }
    names = [arm.name for arm in federated.best_of(found, 3)]
    assert names == ["fedavg", "fedcm", "fedda carried sgdm"]


def test_cells_are_named_by_their_dials(options: argparse.Namespace):
    one = federated.sets(options)["convex"]
    before = federated.cell_name(options, one, arms()["fedavg"])
    options.trials = 3
    one = federated.sets(options)["convex"]
    assert federated.cell_name(options, one, arms()["fedavg"]) != before
    assert before.startswith("convex-fedavg-")
    assert grid.named("a", 1) != grid.named("a", 2)
