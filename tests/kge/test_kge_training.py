"""benchmarks/kge_training.py: every cell in small, the rows that come of it, and what it counts."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from planted_graph import planted
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import apart
import kge_training
import training_quality
import training_speed
from link_cells import cell_name
from popular import popular_triples
from products import operations
from training_growth import GrowthSizes, slope
from training_quality import QualitySizes, ahead_from
from training_speed import Arm, SpeedSizes

from graphsvc.report import Row, rows_of
from kge.blocks import BlockSampler
from kge.config import TransRAConfig
from kge.learner import Learner
from kge.model import build_model

SPEED = SpeedSizes(
    dim=8,
    batch=64,
    arms=(Arm(negatives=16), Arm(negatives=16, precision="bfloat16")),
    seconds=0.01,
    pykeen_seconds=0.01,
    products=(32, 64),
    product_runs=2,
    repeats=2,
    threads=(2, 1),
)
GROWTH = GrowthSizes(
    edges=(200, 400),
    against=(50, 60, 70),
    entities=60,
    triples=200,
    relations=3,
    dim=8,
    negatives=16,
    batch=64,
    seconds=0.01,
    repeats=1,
)
SMALL = kge_training.Sizes(
    entities=60,
    triples=200,
    relations=3,
    speed=SPEED,
    growth=GROWTH,
    evaluation={"entities": 40, "relations": 3, "triples": 1000, "sample": 640},
)


def inline(work, asked, *, threads):
    """As `apart.run` without a process; the peak of this one lies before the work."""
    told = json.loads(json.dumps(work(**json.loads(json.dumps(asked)))))
    return told | {"own_mib": told.get("own_mib", 0.0) + 1.0}


@pytest.fixture
def options(tmp_path: Path):
    """The planted graph as three files, trained for three tenths of a second per model."""
    graph, withheld = planted()
    train = np.stack([graph.head, graph.relation, graph.tail], axis=1)
    given = []
    for name, part in {"train": train, "valid": withheld[:6], "test": withheld[6:]}.items():
        file = tmp_path / "towns" / f"{name}.tsv"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(f"e{h}\tr{r}\te{t}\n" for h, r, t in part))
        given += [f"--{name}", str(file)]
    more = ["--minutes", "0.005", "--seeds", "2"]
    for folder in ("out", "work", "quality"):
        more += [f"--{folder}", str(tmp_path / folder)]
    return kge_training.arguments().parse_args([*given, *more])


@pytest.fixture
def half(monkeypatch) -> Callable[[bool], None]:
    """Whether the processor is said to multiply half precision."""

    def say(has: bool) -> None:
        monkeypatch.setattr(training_speed, "has_bfloat16", lambda: has)

    return say


def test_all_cells_become_rows_a_page_and_pictures(options, half):
    half(True)
    asked = kge_training.asked_of(options, SMALL)
    found = kge_training.measure(asked, options, inline).found
    kge_training.write(found, asked, options.out, "command")
    rows = rows_of(orjson.loads((options.out / "kge_training.json").read_bytes()))
    told = {(r.metric, r.model, r.split): r for r in rows if r.seed in (0, "all")}
    for graph in ("synthetic", "towns"):
        for arm in ("negatives=16/float32", "negatives=16/bfloat16/threads=1"):
            ours, theirs = (
                [
                    r.value
                    for r in rows
                    if (r.metric, r.model) == ("triples_per_second", graph)
                    and r.split == split
                    and r.seed != "all"
                ]
                for split in (arm, "pykeen/threads=1" if "threads" in arm else "pykeen")
            )
            ratio = told["speed_ratio_to_pykeen", graph, arm]
            assert ratio.value == pytest.approx(np.mean(np.array(ours) / np.array(theirs)))
            assert ratio.lo <= ratio.value <= ratio.hi
            by_pass = told["epoch_speed_ratio_to_pykeen", graph, arm]
            assert by_pass.value == pytest.approx(ratio.value / 2), "both ends in a pass, or one"
            assert told["peak_memory_ratio_to_pykeen", graph, arm].value > 0
            assert told["process_memory_ratio_to_pykeen", graph, arm].value > 0
            assert told["gemm_share", graph, arm].value > 0
        assert told["gemm_peak", graph, "float32"].unit == "GFLOP/s"
    for axis in ("edges", "entities"):
        assert np.isfinite(told["epoch_seconds_slope", "synthetic", axis].value)
    assert told["ranks_that_differ", "synthetic", "entities=40"].value < 0.05
    assert told["ranks_apart", "synthetic", "entities=40"].value <= 1.5
    ratio = told["evaluation_ratio_to_pykeen", "synthetic", "entities=40"]
    assert ratio.lo <= ratio.value <= ratio.hi
    assert ("lead_at_end", "transra - best rival", "towns") in told
    for model in ("transra", "transr-pykeen", "rotate"):
        assert told["valid_mrr", model, "towns/minute=0.005"].seed == "all"
    page = (options.out / "README.md").read_text()
    assert page.count("| valid_mrr | rotate | towns/minute=0.005 |") == 1
    # What link prediction has measured is not measured again.
    again = kge_training.measure(asked, options, inline)
    assert (again.found, again.failed) == (found, {})
    for picture in ("growth.png", "quality.png"):
        assert (options.out / picture).read_bytes().startswith(b"\x89PNG")


def test_half_precision_is_measured_where_a_processor_has_it(options, half):
    one_turn = replace(SPEED, repeats=2, threads=(1,))
    asked = kge_training.asked_of(options, replace(SMALL, speed=one_turn))
    graph = asked.graphs()[:1]
    found = {}
    for turn, (cell, work) in enumerate(training_speed.cells(graph, one_turn, inline).items()):
        half(turn == 1)
        found[cell] = work()
    rows = training_speed.rows_of(found, graph, one_turn)
    seeds = {"float32": [], "bfloat16": []}
    for row in rows:
        if row.metric == "speed_ratio_to_pykeen":
            seeds[row.split.partition("/")[2]].append(row.seed)
    assert seeds == {"float32": [1, 2, "all"], "bfloat16": [2, "all"]}


def test_turns_of_several_processors_have_no_interval():
    values, means = {1: 2.0, 2: 4.0}, []
    for second in ("one", "another"):
        cells = [{"processor": name} for name in ("one", second)]
        alike = training_speed.alike(cells)
        *_, mean = training_speed.spread("m", "s", "", "graph", values, alike=alike)
        means.append((mean.value, mean.lo is None, mean.hi is None))
    assert means == [(3.0, False, False), (3.0, True, True)]


def test_seeds_of_several_processors_decide_nothing():
    sizes = training_quality.QualitySizes(seeds=2)
    curve = [{"seconds": 60.0 * minute, "mrr": 0.3} for minute in sizes.moments]
    found = {
        training_quality._cell(name, seed, "f", sizes): {
            "curve": [{**p, "mrr": p["mrr"] + (name == "transra")} for p in curve],
            "commit": "c",
            "processor": "one",
        }
        for name in sizes.models
        for seed in (0, 1)
    }
    rows = training_quality.rows_of(found, "f", "graph", sizes)
    assert "ahead_from_minutes" in {row.metric for row in rows}
    found[training_quality._cell("rotate", 1, "f", sizes)]["processor"] = "another"
    rows = training_quality.rows_of(found, "f", "graph", sizes)
    assert {row.metric for row in rows} == {"valid_mrr"}
    bounds = {row.model: row.lo is None for row in rows if row.seed == "all"}
    assert bounds == {"transra": False, "transr-pykeen": False, "rotate": True}


def test_a_listing_names_the_cells_of_quality_too(options, capsys):
    options.list = True
    outcome = kge_training.measure(kge_training.asked_of(options, SMALL), options, inline)
    assert outcome.found == {}
    told = capsys.readouterr().err
    for cell in ("speed-towns-", "epoch-60-200-1", "evaluation", "rotate-seed1-0.005m-"):
        assert cell in told, cell


def test_other_dials_are_other_cells(options):
    names = {
        name: set(kge_training.cells(replace(kge_training.asked_of(options, SMALL), sizes=sizes)))
        for name, sizes in {
            "as it is": SMALL,
            "arms": replace(SMALL, speed=replace(SPEED, arms=SPEED.arms[:1])),
            "seconds": replace(SMALL, speed=replace(SPEED, pykeen_seconds=0.02)),
            "growth": replace(SMALL, growth=replace(GROWTH, dim=16)),
            "evaluation": replace(SMALL, evaluation={**SMALL.evaluation, "sample": 641}),
        }.items()
    }
    for other, kind in {"arms": "speed", "seconds": "speed", "growth": "epoch"}.items():
        before = {name for name in names["as it is"] if name.startswith(kind)}
        assert before, kind
        assert not before & names[other]
        assert names["as it is"] - before < names[other]
    assert len(names["as it is"] - names["evaluation"]) == 1
    # More of the same keeps what there is.
    more = replace(SMALL, speed=replace(SPEED, repeats=3), growth=replace(GROWTH, repeats=2))
    asked = replace(kge_training.asked_of(options, SMALL), sizes=more)
    assert names["as it is"] < set(kge_training.cells(asked))


def test_a_process_has_a_peak_of_its_own():
    # No library was loaded there, and what this process holds is not counted.
    assert apart.run(apart.peak_mib, {}, threads=1) < 0.5 * apart.held_mib()


def test_what_fails_in_a_process_is_told():
    with pytest.raises(SystemExit, match=r"(?s)held_mib ended with 1: .*TypeError"):
        apart.run(apart.held_mib, {"of": "all"}, threads=1)


@pytest.mark.parametrize("tails", ["same", "own", "still"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_operations_are_those_that_torch_counts(tails: str, precision: str):
    graph, _ = planted()
    config = TransRAConfig(
        dim=12,
        relation_dim=12 if tails == "still" else 8,
        tails=tails,
        precision=precision,
        negatives=20,
        block=64,
        batch=256,
    )
    learner = Learner(graph, build_model(graph, config), config)
    batch = next(iter(BlockSampler(graph, config)))
    assert len(batch.blocks) > 1
    # torch counts `addmm` and not the one that works in place.
    in_place = {torch.ops.aten.addmm_: lambda _, a, b, **_more: 2 * a[0] * a[1] * b[1]}
    with FlopCounterMode(display=False, custom_mapping=in_place) as counter:
        learner.learn(batch, 1.0, np.random.default_rng(0))
    assert operations(batch, config, filled_up=True) == counter.get_total_flops()
    assert operations(batch, config) <= counter.get_total_flops()


def test_operations_of_other_forms_are_refused():
    graph, _ = planted()
    config = TransRAConfig(loss="margin")
    batch = next(iter(BlockSampler(graph, config)))
    with pytest.raises(ValueError, match=r"softmax to be counted, received full and margin"):
        operations(batch, config)


def test_a_popular_graph_has_distinct_triples_and_few_who_are_popular():
    triples = popular_triples(entities=1000, triples=20_000, relations=5, seed=1)
    assert triples.shape == (20_000, 3)
    assert len(np.unique(triples, axis=0)) == 20_000
    assert triples.min(axis=0).tolist() == [0, 0, 0]
    assert triples.max() < 1000
    degree = np.sort(np.bincount(triples[:, 2], minlength=1000))
    # Of rank^-.75 the first hundred have (100 / 1000)^.25 = 56 % of all.
    assert 0.45 < degree[-100:].sum() / 20_000 < 0.65
    again = popular_triples(entities=1000, triples=20_000, relations=5, seed=1)
    assert (again == triples).all()


def test_a_slope_is_the_exponent_and_has_an_interval():
    # Two repeats a size, of factor 1.1 and 1 / 1.1 around 3 n^1.2.
    points = [(n, 3.0 * n**1.2 * by) for n in (10, 100, 1000, 10_000) for by in (1.1, 1 / 1.1)]
    found = slope(points)
    assert found.value == pytest.approx(1.2)
    assert found.low == pytest.approx(found.high, abs=1e-5)
    points[-1] = (10_000, 9.0 * 10_000**1.2)
    found = slope(points)
    assert found.low < 1.2 < found.value < found.high


def test_ahead_is_from_when_on_it_stays_ahead():
    minutes = [1.0, 2.0, 3.0, 4.0]
    assert ahead_from(minutes, [True, False, True, True]) == 3.0
    assert ahead_from(minutes, [True, True, True, True]) == 1.0
    assert ahead_from(minutes, [True, True, True, False]) is None


QUALITY = QualitySizes(minutes=10.0, seeds=3, models=("transra", "rotate"))


def cells_of(**models: list[float]) -> dict[str, dict]:
    """A cell per seed, whose MRR rises to what is given; looks are a second late."""
    shares = [moment / QUALITY.minutes for moment in QUALITY.moments]
    return {
        cell_name(name, seed, QUALITY.minutes, "0123abcd"): {
            "curve": [{"seconds": 600 * share + 1, "mrr": last * share} for share in shares]
        }
        for name, ends in models.items()
        for seed, last in enumerate(ends)
    }


def quality_rows(found: dict[str, dict]) -> dict[tuple[str, str], Row]:
    rows = training_quality.rows_of(found, "0123abcd", "towns", QUALITY)
    return {(row.metric, row.split): row for row in rows if row.seed == "all"}


def test_who_is_ahead_is_said_by_an_interval_over_all_seeds():
    # Paired: seeds differ far more than the two models of one seed do.
    found = cells_of(transra=[0.31, 0.412, 0.511], rotate=[0.3, 0.4, 0.5])
    rows = quality_rows(found)
    lead = rows["lead_at_end", "towns"]
    assert lead.value == pytest.approx(0.011, rel=0.01)
    assert 0 < lead.lo < lead.value < lead.hi
    assert rows["ahead_from_minutes", "towns"].value == 0.25
    assert rows["valid_mrr_lead", "towns/minute=5"].value == pytest.approx(0.0055, rel=0.02)
    # The mean is above, and one seed of three is not.
    rows = quality_rows(cells_of(transra=[0.35, 0.45, 0.49], rotate=[0.3, 0.4, 0.5]))
    assert rows["lead_at_end", "towns"].value > 0
    assert ("ahead_from_minutes", "towns") not in rows
    # A rival lacks a seed.
    del found[cell_name("rotate", 2, QUALITY.minutes, "0123abcd")]
    rows = quality_rows(found)
    assert ("valid_mrr", "towns/minute=5") in rows
    assert not {metric for metric, _ in rows} & {"lead_at_end", "ahead_from_minutes"}


def test_nothing_is_said_of_a_model_before_its_first_look():
    found = cells_of(transra=[0.31, 0.41, 0.51], rotate=[0.3, 0.4, 0.5])
    for name, cell in found.items():
        if name.startswith("rotate"):
            cell["curve"] = cell["curve"][3:]  # its first look is due at 2 minutes
    rows = training_quality.rows_of(found, "0123abcd", "towns", QUALITY)
    told = {(row.metric, row.split.partition("=")[2], row.model) for row in rows}
    assert ("valid_mrr", "1", "transra") in told
    assert ("valid_mrr", "1", "rotate") not in told
    assert ("valid_mrr", "2", "rotate") in told
    assert ("valid_mrr_lead", "1", "transra - rotate") not in told
    assert quality_rows(found)["ahead_from_minutes", "towns"].value == 2.0
    for cell in found.values():  # whose first step took longer than all that there was
        cell["curve"] = [{"seconds": 700.0, "mrr": 0.5}]
    told = {split for metric, split in quality_rows(found) if metric == "valid_mrr"}
    assert told == {"towns/minute=10"}


def test_files_are_given_together(options):
    options.test = None
    with pytest.raises(SystemExit, match="given together"):
        kge_training.asked_of(options, SMALL)
    options.train = options.valid = None
    asked = kge_training.asked_of(options, SMALL)
    assert {graph.name for graph in asked.graphs()} == {"synthetic"}
    assert asked.data is None
