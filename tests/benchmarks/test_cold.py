"""benchmarks/cold.py: every cell in small, its rows, and that it measures what a server does."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import cold
import cold_leads
import grid
from differences import ahead
from folding import EDGES, halves, joined, ranked, served, trained
from nodepiece import NodePieceDials
from withheld import Withheld, withhold

from api.solving import Solver
from graphsvc.artifact import ArtifactStore
from graphsvc.folding import FoldEdge
from graphsvc.ids import EntityId
from graphsvc.report import Row, rows_of
from kge import policy
from kge.bundle import seal_bundle
from kge.dials import Dials
from kge.files import read_names
from kge.foldin import FoldIn

SMALL = cold.Speed(dims=(4,), entities=50, singles=5)
SPEED = "speed-4"


def ring(letter: str, size: int, steps: range) -> str:
    """Each is joined to the ones so many steps after it, by three relations in turn."""
    return "".join(
        f"{letter}{n:02}\tr{step % 3}\t{letter}{(n + step) % size:02}\n"
        for n in range(size)
        for step in steps
    )


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    """Sixty entities of 24 edges, of which three are withheld; and twenty others."""
    files = {
        "train": ring("e", 60, range(1, 13)),
        "inductive-train": ring("e", 60, range(1, 4)),
        "inductive-told": ring("x", 20, range(1, 4)),
        "inductive-valid": ring("x", 20, range(4, 5)),
        "inductive-test": ring("x", 20, range(5, 6)),
    }
    given = ["--out", str(tmp_path / "out"), "--seeds", "2", "--dim", "8", "--epochs", "1"]
    given += ["--inductive-epochs", "1"]
    given += ["--nodepiece-epochs", "2", "--inductive-nodepiece-epochs", "1"]
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        given += [f"--{name}", str(tmp_path / name)]
    return cold.arguments().parse_args(given)


def split_of(options: argparse.Namespace) -> Withheld:
    return withhold(read_names([options.train]), share=0.05, enough=20, seed=1)


def means_of(rows: list[Row]) -> dict[tuple[str, str, str], Row]:
    return {(row.metric, row.model, row.split): row for row in rows if row.seed == "all"}


def means_of_leads(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.metric == "mrr_difference_over_triples"]


# PyKEEN warns of what its own loop asks for.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Training instances are always shuffled:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true:UserWarning")
def test_all_cells_become_rows_a_page_and_a_picture(options: argparse.Namespace) -> None:
    options.seeds = 1
    found = grid.run(cold.cells(options, SMALL), options)
    cold.write(found, options)
    rows = rows_of(orjson.loads((options.out / "cold.json").read_bytes()))
    means = means_of(rows)
    for arm in ("fold-in", "fold-in, chosen", "prior alone", "retrained"):
        for edges in EDGES:
            both, others, own = (
                means[metric, arm, f"edges={edges}"].value
                for metric in ("mrr", "mrr_of_others", "mrr_of_the_withheld")
            )
            assert both == pytest.approx((others + own) / 2), "every triple is asked at both ends"
            assert 1 / 60 < both <= 1
    for edges in EDGES:
        mine, theirs = (means["mrr", arm, f"edges={edges}"] for arm in ("fold-in", "retrained"))
        share = means["mrr_share", "fold-in / retrained", f"edges={edges}"]
        assert share.value == pytest.approx(mine.value / theirs.value)
    for where, arm in (("edges=5", "nodepiece"), ("others", "nodepiece"), ("others", "fold-in")):
        assert 0 < means["mrr", arm, where].value <= means["hits@10", arm, where].value + 0.1
    told = {row.metric: row for row in rows if row.split == "d=4"}
    assert told["one_entity_p50"].value <= told["one_entity_p99"].value
    assert told["entities_per_second"].value > 0
    for where, rival in (
        ("edges=10", "prior alone"),
        ("edges=1", "retrained"),
        ("others", "nodepiece"),
    ):
        lead = means["mrr_difference_over_triples", f"fold-in - {rival}", where]
        apart = means["mrr", "fold-in", where].value - means["mrr", rival, where].value
        assert lead.value == pytest.approx(apart, abs=1e-6)
        assert lead.lo <= lead.value <= lead.hi
    assert ("mrr_difference_over_triples", "fold-in - nodepiece", "edges=5") in means
    assert ("mrr_difference_over_triples", "fold-in - nodepiece", "edges=10") not in means
    assert (options.out / "edges.png").read_bytes().startswith(b"\x89PNG")
    page = (options.out / "README.md").read_text()
    folder = options.train.parent.name
    files = f"--train {folder}/train --inductive-train {folder}/inductive-train"
    assert files in page, "of where they lie here no more than that"
    others = "--seeds 1 --dim 8 --epochs 1 --nodepiece-epochs 2 --inductive-epochs 1"
    assert f"{others} --inductive-nodepiece-epochs 1`" in page
    assert "| mrr | fold-in, chosen | edges=10 |" in page
    assert "| fold-in - retrained | edges=2 | 1 |" in page
    assert page.count("| not decided |") == len(means_of_leads(rows)), "with one seed nothing is"
    trials = {name.rpartition("-")[0]: cell.get("trials") for name, cell in found.items()}
    assert (trials["cold-1"], trials["nodepiece-1-5"]) == (6, 4)
    assert (trials["others-fold-in-1"], trials["others-nodepiece-1"]) == (24, 3)
    assert "fold-in the best of 24" in page
    assert "NodePiece of 3" in page
    assert grid.run(cold.cells(options, SMALL), options) == found, "nothing is measured again"


def test_with_the_dials_as_they_stand_each_has_as_many_trials() -> None:
    options = cold.arguments().parse_args([])
    ours = len(cold.RIDGES) * len(cold.TURNS)
    assert cold._others_rival(options, 1).trials == ours == 24
    assert cold._rival(options, options.nodepiece_epochs, 1).trials == len(cold.RIDGES) == 6


def test_a_training_is_looked_at_on_its_way() -> None:
    assert NodePieceDials(epochs=20).looks == [4, 8, 12, 16, 20]
    assert NodePieceDials(epochs=2).looks == [1, 2]


def test_cells_of_other_files_or_dials_have_other_names(
    options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set(cold.cells(options, SMALL))
    assert len(names) == 1 + 2 * (1 + len(EDGES) + 1) + 2 * 2
    assert set(cold.cells(options, SMALL)) == names
    withheld = {name for name in names if name.startswith(("cold-", "retrained-"))}
    rivals = {name for name in names if name.startswith("nodepiece-")}
    others = {name for name in names if name.startswith("others-")}

    def kept(**changed: object) -> set[str]:
        return names & set(cold.cells(argparse.Namespace(**vars(options) | changed), SMALL))

    speed = names - withheld - rivals - others
    assert {name.rpartition("-")[0] for name in speed} == {SPEED}
    assert kept(dim=16) == speed
    assert kept(epochs=2.0) == names - withheld
    assert kept(nodepiece_epochs=3) == names - rivals
    assert kept(inductive_epochs=3.0) == {n for n in names if not n.startswith("others-fold-in")}
    assert kept(train=options.inductive_train) == names - withheld - rivals
    with monkeypatch.context() as patch:
        patch.setitem(policy._FACTS, "prior_edges", (0.5, "another rule"))
        assert kept() == speed | rivals | {n for n in others if n.startswith("others-nodepiece")}
    options.inductive_told.write_text(ring("x", 20, range(1, 3)))
    assert kept() == names - others


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"inductive_told": None}, "should be given together"),
        ({"train": None, "test": "inductive_test"}, "--train should be given"),
        ({"train": Path("nowhere")}, "--train should name a file, received nowhere"),
        ({"seeds": 0}, "--seeds should be at least 1"),
    ],
)
def test_files_that_are_not_there_are_asked_for(
    options: argparse.Namespace, changed: dict[str, object], says: str
) -> None:
    for name, value in changed.items():
        setattr(options, name, getattr(options, value) if isinstance(value, str) else value)
    with pytest.raises(SystemExit, match=says):
        cold.cells(options, SMALL)


def test_runs_keep_their_seeds_and_shares_are_of_the_same_run() -> None:
    def cell(arm: str, seed: int, mrr: float) -> dict[str, object]:
        return {"seed": seed, "commit": "abc", arm: {"mrr": mrr}}

    rows = cold.rows_of(
        {
            "cold-1-0123abcd": cell("fold-in/5", 1, 0.2),
            "cold-3-0123abcd": cell("fold-in/5", 3, 0.4),
            "retrained-3-5-0123abcd": cell("retrained/5", 3, 0.5),
        }
    )
    told = {(row.metric, row.model, row.seed): row for row in rows}
    assert {key[1:] for key in told if key[0] == "mrr"} == {
        ("fold-in", 1), ("fold-in", 3), ("fold-in", "all"), ("retrained", 3), ("retrained", "all")
    }  # fmt: skip
    mean = told["mrr", "fold-in", "all"]
    # Student's t of one degree of freedom is 12.706; the standard error is 0.1.
    assert (mean.value, mean.hi - mean.value) == pytest.approx((0.3, 1.2706), rel=1e-3)
    share = told["mrr_share", "fold-in / retrained", "all"]
    assert (share.value, share.lo, share.hi) == (pytest.approx(0.8), None, None)


def test_its_fold_in_is_what_a_server_does(options: argparse.Namespace, tmp_path: Path) -> None:
    split = split_of(options)
    base = trained(split.graph(None), Dials(dim=8, epochs=1.0, seed=1))
    store = ArtifactStore(tmp_path / "artifacts")
    bundle = seal_bundle(store, "0" * 64, base, dials=base.dials, metrics={})
    solver = Solver(bundle, FoldIn(bundle, bundle.fold_in()))
    for edges in (1, 5):
        given = split.columns(edges)
        lists: list[list[FoldEdge]] = [[] for _ in range(split.count)]
        for owner, relation, other, inverse, _ in zip(*given, strict=True):
            end = EntityId("entity", split.ids[other])
            edge = FoldEdge(split.relations[relation], end, bool(inverse), 1.0, 1)
            lists[owner].append(edge)
        answered = solver.solve("entity", lists)
        found = joined(base, split, edges, served(base))
        expected = np.stack([one.vector for one in answered])
        np.testing.assert_allclose(found.vectors[split.stay :], expected, atol=1e-6)
        number = np.array([one.edges for one in answered])
        assert number.tolist() == [edges] * split.count
        np.testing.assert_allclose(
            found.bias[split.stay :], bundle.cold_bias("entity", number), rtol=1e-6
        )


def test_where_all_are_alike_everybody_ranks_in_the_middle(options: argparse.Namespace) -> None:
    """Of n candidates that no known triple takes out, the realistic rank is (n + 1) / 2."""
    split = split_of(options)
    base = trained(split.graph(None), Dials(dim=8, epochs=1.0, seed=1))
    count = len(split.ids)
    alike = replace(
        base,
        vectors=np.zeros((count, 8), np.float32),
        bias=np.zeros(count, np.float32),
        ids=split.ids,
    )
    known = [tuple(row) for row in split.known.tolist()]
    half = halves(split)[1]
    asked = split.asked(10, 10, half).tolist()
    others, own = [], []
    for head, relation, tail in asked:
        # Everyone else that is known to answer is taken out.
        tails = count - sum(h == head and r == relation for h, r, _ in known) + 1
        heads = count - sum(r == relation and t == tail for _, r, t in known) + 1
        chances = [2 / (tails + 1), 2 / (heads + 1)]
        if head < split.stay:
            chances.reverse()
        others.append(chances[0])
        own.append(chances[1])
    found = ranked(alike, split, half)
    assert found["mrr_of_others"] == pytest.approx(np.mean(others))
    assert found["mrr_of_the_withheld"] == pytest.approx(np.mean(own))
    assert found["mrr"] == pytest.approx(np.mean([others, own]))


def cells_of(folder: Path, arm: str, runs: list[np.ndarray]) -> dict[str, dict]:
    """A cell per seed, with its ranks in the folder."""
    made = {}
    for seed, run in enumerate(runs, start=1):
        cell = f"{arm.partition('/')[0]}-{seed}"
        both = np.stack([run, run]).astype(np.float32)
        cold_leads.keep(folder / f"{cell}.npz", {arm: both})
        made[cell] = {"seed": seed, arm: {"mrr": float(both.mean(dtype=np.float64))}}
    return made


def test_fold_in_is_ahead_where_seeds_and_triples_say_so(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    # Every seed withholds others, so it has triples of its own, and not as many.
    hard = [draw.uniform(0.1, 0.5, size) for size in (60, 80, 70)]
    found = cells_of(tmp_path, "fold-in/5", [run + 0.1 for run in hard])
    found |= cells_of(tmp_path, "nodepiece/5", [run + n / 100 for n, run in enumerate(hard)])
    found |= cells_of(tmp_path, "retrained/5", hard[:1])
    told = {lead.rival: lead for lead in cold_leads.leads(found, tmp_path)}
    assert set(told) == {"nodepiece", "retrained"}
    nodepiece, retrained = told["nodepiece"].ahead, told["retrained"].ahead
    assert (nodepiece.value, nodepiece.seeds, nodepiece.decided) == (
        pytest.approx(0.09),
        3,
        "ahead",
    )
    # What makes a triple hard is the same for both.
    assert nodepiece.by_triple == pytest.approx((0.09, 0.09), abs=1e-6)
    assert (retrained.seeds, retrained.by_seed, retrained.decided) == (1, None, "not decided")
    metrics = [row.metric for row in cold_leads.rows_of(list(told.values()))]
    assert metrics.count("mrr_difference_over_seeds") == 1
    found["nodepiece-2"]["nodepiece/5"]["mrr"] += 0.1
    with pytest.raises(SystemExit, match=r"nodepiece-2\.npz should have the MRR of its cell"):
        cold_leads.leads(found, tmp_path)


def test_each_seed_draws_among_its_own_triples() -> None:
    noise = np.where(np.arange(400) % 2, 0.1, -0.1)
    runs = [np.stack([noise, noise]).astype(np.float32) for _ in range(4)]
    none = [np.zeros_like(run) for run in runs]
    # A standard error of .1 / 20 where all runs share the triples, and half of it where none do.
    _, high = ahead(runs, none).by_triple
    _, apart = ahead(runs, none, same_triples=False).by_triple
    assert (high, apart) == pytest.approx((0.0098, 0.0049), abs=1e-3)
