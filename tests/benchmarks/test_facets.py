"""benchmarks/facets.py: worlds as columns, claims by hand, and the whole in small."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import facets
import facets_rows
import grid
from facets_arms import ALL, ARMS, name_of
from facets_model import (
    Dials,
    FacetRanker,
    Ids,
    batch_of,
    hashed_rows,
    mover_of,
    own_rows,
    pretrained,
)
from facets_worlds import Made, market_of, movielens, simulated
from ladder_rows import Gap, Run

from graphsvc.report import rows_of
from graphsvc.simulate.people import FIRST_BOT
from graphsvc.snapshot import Span
from ranking.pretraining.tables import FacetTable, SideTable

SMALL = ["--people", "400", "--ads", "80", "--pages", "1500", "--days", "20", "--threads", "1"]


@pytest.fixture(scope="module")
def made() -> Made:
    return simulated(market_of("default", 1, people=400, ads=80, pages=1500, days=20.0), 20.0)


def options_of(out: Path, *given: str) -> argparse.Namespace:
    return facets.parser().parse_args([*SMALL, "--out", str(out), "--seeds", "2", *given])


def test_rows_are_impressions_and_the_graph_ends_where_they_begin(made: Made) -> None:
    rows, graph = made.rows, made.graph
    assert len(rows.label) > 3000
    shares = np.bincount(rows.span, minlength=len(Span)) / len(rows.span)
    assert shares == pytest.approx([0.45, 0.15, 0.1, 0.1, 0.2], abs=0.01)
    assert 0.02 < rows.label.mean() < 0.4
    for column, size in enumerate(made.sizes):
        assert rows.codes[:, column].min() >= 0
        assert rows.codes[:, column].max() < size
    assert np.isfinite(rows.rates).all()
    assert (graph.head_type, graph.tail_type) == ("user", "ad")
    assert (np.diff(graph.relation) >= 0).all()
    clicks = np.flatnonzero(graph.relation == [r.name for r in graph.relations].index("click"))
    people = np.array([int(id_) < FIRST_BOT for id_ in graph.ids[graph.head[clicks]].tolist()])
    shown = clicks[people]
    told = set(zip(graph.head[shown].tolist(), graph.tail[shown].tolist(), strict=True))
    own = (rows.span == Span.GRAPH) & (rows.label == 1)
    user, ad = (graph.type_range(name).start for name in ("user", "ad"))
    ends = (user + rows.head[own], ad + rows.tail[own])
    pairs = set(zip(*(column.tolist() for column in ends), strict=True))
    assert told <= pairs, "a click in the graph is of an impression in GRAPH"
    assert len(pairs - told) <= 2, "a click comes up to a minute after its impression"


def test_counters_are_those_before_a_row(made: Made) -> None:
    """A user's first row has seen nothing: the smoothed rate is the base rate."""
    first = np.unique(made.rows.head, return_index=True)[1]
    np.testing.assert_allclose(made.rows.rates[first, 0], 0.0, atol=1e-6)
    train = made.of(Span.TRAIN)
    np.testing.assert_allclose(made.rows.dense[train].mean(axis=0), 0.0, atol=0.2)


def test_a_null_is_another_market() -> None:
    sizes = {"people": 100, "ads": 40, "pages": 300, "days": 5.0}
    assert market_of("default", 1, **sizes).kge_informative
    assert not market_of("kge", 1, **sizes).kge_informative


def test_movielens_is_cut_at_each_users_own_time(tmp_path: Path) -> None:
    inter = [f"u{user}\tf{n}\t{5 - n % 3}\t{100 * user + n}" for user in (1, 2) for n in range(20)]
    files = {
        "inter": inter,
        "user": ["u1\t20\tM\tcook\t1", "u2\t30\tF\tspy\t1"],
        "item": [f"f{n}\tName\t{1970 + n}\t{'Drama War' if n % 2 else 'War'}" for n in range(20)],
    }
    for part, lines in files.items():
        (tmp_path / f"ml-100k.{part}").write_text("\n".join(["header", *lines]) + "\n")
    found = movielens(tmp_path)
    for user in (0, 1):
        span = found.rows.span[found.rows.head == user]
        assert np.bincount(span).tolist() == [9, 3, 2, 2, 4]
    # Of the first nine of each, those with 5 and 4: six.
    assert len(found.graph.pairs) == 12
    assert found.told["ids"] == 22
    assert found.graph.ids[found.graph.head[-1]] in {f"f{n}" for n in range(20)}


def test_hashed_rows_have_as_many_bytes_as_own_ones() -> None:
    own, hashed = own_rows((800, 80), 4), hashed_rows((800, 80), 4, share=8)
    assert own.bytes == hashed.bytes == 4 * 4 * 880
    (rows, dim, place), _ = hashed.tables
    assert (rows, dim, place.shape) == (100, 32, (800, 2))
    assert place.min() >= 0
    assert place.max() < 100
    assert len(np.unique(place, axis=0)) > 700, "two hashes tell nearly all apart"


def table_of(made: Made, dim: int = 3) -> FacetTable:
    """Every second user and ad, with numbers of their own."""
    sides = []
    for name in ("user", "ad"):
        kind = made.graph.type_range(name)
        ids = made.graph.ids[kind.start : kind.stop][::2]
        vectors = np.random.default_rng(0).normal(size=(len(ids), dim)).astype(np.float32)
        sides.append(SideTable(ids, vectors))
    return FacetTable(name="gnn", head_type="user", tail_type="ad", heads=sides[0], tails=sides[1])


@pytest.mark.parametrize(("mode", "moves"), [("frozen", False), ("tuned", True), ("fresh", True)])
def test_a_step_moves_what_the_mode_says(made: Made, mode: str, moves: bool) -> None:
    ids = pretrained(made, (table_of(made), table_of(made, 2)), mode)
    torch.manual_seed(0)
    model = FacetRanker(made, ids, Dials(dropout=0.0), 0)
    torch.nn.init.normal_(model.tower.last.weight)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mover, rows = mover_of(model, Dials()), made.of(Span.TRAIN)[:64]
    model(batch_of(made.rows, rows)).square().sum().backward()
    mover.step()
    mover.settle()
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert any(name.startswith("fields.0.tables.0") for name in changed) == moves
    assert "codes.weight" in changed
    users = made.graph.type_range("user")
    assert ids.bytes == 4 * 5 * (users.stop - users.start + len(ids.vectors[1][0]))


def test_no_ids_and_own_ids_answer_alike_at_first(made: Made) -> None:
    """Rows of zeros say nothing; and what a ranker does not read cannot change it."""
    rows = made.of(Span.TEST)[:8]
    for ids in (Ids(), own_rows((len(made.graph.ids), len(made.graph.ids)), 4)):
        model = FacetRanker(made, ids, Dials(), 0).eval()
        with torch.inference_mode():
            found = model(batch_of(made.rows, rows))
        # The last matrix of a tower begins at zero: the sum of both rates, and a bias.
        expected = torch.from_numpy(made.rows.rates[rows].sum(axis=1)) + model.tower.last.bias
        torch.testing.assert_close(found, expected.detach())


def run(*draws: float, second: tuple[float, ...] = ()) -> Run:
    found = {"epoch=1": np.array(draws)}
    if second:
        found["epoch=2"] = np.array(second)
    told = {"auc": draws[0], "bytes": 100}
    return Run(told, found)


@pytest.mark.parametrize(
    ("wanted", "ends", "verdict"),
    [
        ("above", (0.01, 0.02), "shown"),
        ("above", (-0.01, 0.02), "not decided"),
        ("above", (-0.02, -0.01), "refuted"),
        ("below", (-0.02, -0.01), "shown"),
        ("neutral", (-0.001, 0.0015), "shown"),
        ("neutral", (-0.001, 0.0025), "not decided"),
        ("neutral", (0.003, 0.004), "refuted"),
    ],
)
def test_a_claim_is_judged_by_both_intervals(wanted, ends, verdict) -> None:
    inside = (sum(ends) / 2, sum(ends) / 2)
    for by_seed, by_user in ((ends, inside), (inside, ends)):
        claim = facets_rows.Claim("", "", wanted, Gap(0.0, 3, by_seed, by_user))
        assert claim.verdict == verdict
    assert facets_rows.Claim("", "", wanted, Gap(0.0, 1, None, ends)).verdict == "not decided"


def test_claims_and_rows_by_hand() -> None:
    flat = (0.70, 0.70, 0.70)
    runs = {
        ("default", "ctr"): {
            "none": {1: run(*flat), 2: run(*flat)},
            "scratch": {
                seed: run(0.701, 0.701, 0.701, second=(0.68, 0.69, 0.67)) for seed in (1, 2)
            },
            "gnn/frozen": {seed: run(0.75, 0.74, 0.76) for seed in (1, 2)},
        }
    }
    told = {(claim.text, claim.pair): claim for _, claim in facets_rows.claims(runs)}
    neutral = told["an ID table from scratch is neutral", "scratch - none"]
    assert (neutral.verdict, neutral.found.value) == ("shown", pytest.approx(0.001))
    assert told["a facet helps", "gnn/frozen - none"].verdict == "shown"
    late = told["the second epoch overfits", "scratch, 2 epochs - 1"]
    assert (late.verdict, late.found.value) == ("shown", pytest.approx(-0.021))
    rows = {(r.metric, r.model, r.split): r for r in facets_rows.rows_of(runs) if r.seed == "all"}
    assert rows["auc_lift", "gnn/frozen - none", "default/epoch=1"].value == pytest.approx(0.05)
    assert rows["auc_second_epoch", "scratch, 2 epochs - 1", "default"].value < 0
    assert "| a facet helps | default | gnn/frozen - none | +0.0500 | 2 |" in facets_rows.section(
        runs
    )


def test_buckets_part_the_judged_rows_and_users_are_whole(made: Made) -> None:
    judged = facets.sampled(made, 300)
    assert 0 < len(judged) <= 300
    test = made.of(Span.TEST)
    users = np.unique(made.rows.head[judged])
    assert np.isin(made.rows.head[test], users).sum() == len(judged)
    parts = facets.buckets(made, judged)
    for side in ("head", "tail"):
        own = [rows for name, rows in parts.items() if name.startswith(f"/{side}=")]
        assert sorted(np.concatenate(own).tolist()) == list(range(len(judged)))
    assert list(parts)[:5] == ["", "/head=0", "/head=1-4", "/head=5-19", "/head=20+"]


def test_nulls_have_fewer_arms_and_other_dials_are_other_cells(tmp_path: Path) -> None:
    def names(*given: str) -> set[str]:
        bench = facets.Bench(options_of(tmp_path, *given), tmp_path)
        return set(facets.cells(bench))

    before = names()
    assert len(before) == 2 * (2 * len(ARMS) + 3 * len(facets.OF_NULLS))
    assert name_of(("contrastive", "kge", "gnn")) == ALL
    assert not before & names("--dim", "8")
    assert len(before & names("--people", "500")) == 2 * len(ARMS), "MovieLens has no such dial"


@pytest.mark.slow
def test_the_whole_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four arms, two seeds: cells, draws, page and pictures; tables are pretrained once."""
    monkeypatch.setattr(facets, "RESAMPLES", 20)
    out, work = tmp_path / "out", tmp_path / "work"
    work.mkdir()
    given = [
        "--dim",
        "8",
        "--epochs",
        "1",
        "--kge-epochs",
        "1",
        "--batch",
        "64",
        "--test-rows",
        "400",
    ]
    options = options_of(out, *given)
    arms = [
        "none",
        "scratch",
        "contrastive+gnn/frozen",
        f"summed({'+'.join(facets.FACET_NAMES)})/tuned",
    ]
    monkeypatch.setattr(facets.Bench, "worlds", ["default"])
    monkeypatch.setattr(facets.Bench, "arms", lambda _self, _world: arms)
    outcome = grid.measure(facets.cells(facets.Bench(options, work)), options, facets.ERRORS)
    assert len(outcome.found) == 8
    assert not outcome.failed
    assert len(list((work / "artifacts" / "table").iterdir())) == 2 * 3
    facets.write(outcome.found, options)
    for name in ("README.md", "facets.json", "lifts.png", "frequency.png"):
        assert (out / name).stat().st_size > 0
    rows = rows_of(json.loads((out / "facets.json").read_text()))
    assert {row.metric for row in rows} >= {"auc", "auc_lift", "auc_second_epoch", "bytes"}
    assert "events per id" in (out / "README.md").read_text()
