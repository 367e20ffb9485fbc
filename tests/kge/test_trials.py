"""What takes long to build is tried on parts of the rows, and left out where it is in vain."""

import re
from math import inf

import numpy as np
import pytest

import kge.tuning
from kge.config import IndexConfig
from kge.kinds import Choice, foretold
from kge.parts import directions
from kge.tuning import Sample, Tuned, tune

COUNT, PARTS = 2000, (200, 800)
CONFIG = IndexConfig()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The kind and the rows of everything that is built, with trials of small parts."""
    monkeypatch.setattr(kge.tuning, "TRIAL_FROM", 1000)
    monkeypatch.setattr(kge.tuning, "TRIAL_ROWS", PARTS)
    made, build = [], kge.tuning.build

    def told(kind, units, config):
        made.append((kind, len(units)))
        return build(kind, units, config)

    monkeypatch.setattr(kge.tuning, "build", told)
    return made


def tuned(*kinds: str, count: int = COUNT, dim: int = 48) -> Tuned:
    """Kinds in this order over Gaussian noise, in which near vectors are hard to find."""
    draw = np.random.default_rng(4)
    units = directions(draw.normal(size=(count, dim)).astype(np.float32))
    own = np.sort(draw.choice(count, 40, replace=False))
    others = directions(draw.normal(size=(40, dim)).astype(np.float32))
    sample = Sample(np.concatenate([units[own], others]), np.append(own, np.full(40, -1)))
    choices = [Choice(kind=kind, bytes_per_vector=1.0, reason=f"{kind}!") for kind in kinds]
    return tune(choices, units, sample, CONFIG)


def test_a_graph_that_would_not_reach_the_recall_is_not_built(built, monkeypatch):
    monkeypatch.setattr(kge.tuning, "_EFFORTS", {"hnsw": (10, 12)})
    found = tuned("hnsw", "exact")
    assert found.kind == "exact"
    assert built == [("hnsw", 200), ("hnsw", 800)], "parts alone"
    assert found.tried == ()
    assert found.reason == (
        "exact!; hnsw was not built: by 200 and 800 of the rows it would not reach "
        "a recall@10 of 0.95"
    )


def test_a_graph_that_would_be_slower_is_not_built(built):
    found = tuned("ivf_sq8", "hnsw", "exact", dim=16)
    assert found.kind == "ivf_sq8", "it is quick, so nothing else is tried"
    assert built == [("ivf_sq8", COUNT)]
    built.clear()
    with pytest.MonkeyPatch.context() as patch:
        # Of 2,000 rows no graph compares as few: it counts three times per vector.
        patch.setattr(kge.tuning, "is_quick", lambda _compared, _count: False)
        found = tuned("ivf_sq8", "hnsw", "exact", dim=16)
    assert found.kind == "ivf_sq8"
    assert built == [("ivf_sq8", COUNT), ("hnsw", 200), ("hnsw", 800)]
    assert "hnsw was not built: by 200 and 800 of the rows it" in found.reason
    assert re.search(r"would compare \d{4} vectors, and \d+ are enough$", found.reason)


def test_a_graph_that_will_do_is_built_and_is_the_one_that_it_would_be_without_a_trial(
    built, monkeypatch
):
    with_trial = tuned("hnsw", "exact")
    assert built == [("hnsw", 200), ("hnsw", 800), ("hnsw", COUNT)]
    again = tuned("hnsw", "exact")
    built.clear()
    monkeypatch.setattr(kge.tuning, "TRIAL_FROM", COUNT + 1)
    without = tuned("hnsw", "exact")
    assert built == [("hnsw", COUNT)], "few rows are built at once"
    told = {(t.kind, t.effort, t.reason, str(t.recall)) for t in (with_trial, again, without)}
    assert len(told) == 1
    assert with_trial.kind == "hnsw"


def test_more_rows_take_more_effort_and_the_trial_says_how_much(built, monkeypatch):
    steps = (10, 14, 20, 32, 64)
    monkeypatch.setattr(kge.tuning, "_EFFORTS", {"hnsw": steps})
    draw = np.random.default_rng(4)
    units = directions(draw.normal(size=(COUNT, 48)).astype(np.float32))
    sample = Sample(units[:40], np.arange(40))
    few, many = (kge.tuning._enough("hnsw", units, sample, CONFIG, n) for n in PARTS)
    assert steps[0] <= few < many < steps[-1]
    assert many == kge.tuning._enough("hnsw", units, sample, CONFIG, PARTS[1])


def test_effort_is_a_power_of_the_number_of_rows():
    # Four times the rows took twice the effort: a root. Twenty times the rows take 4.47 times it.
    assert foretold((60.0, 120.0), (12_500, 50_000), 1_000_000) == pytest.approx(120 * 20**0.5)
    assert foretold((90.0, 80.0), (12_500, 50_000), 1_000_000) == 80.0, "chance, not less"
    assert foretold((60.0, inf), (12_500, 50_000), 1_000_000) == inf
    assert foretold((inf, inf), (12_500, 50_000), 1_000_000) == inf
