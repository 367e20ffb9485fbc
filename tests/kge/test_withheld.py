"""What the benchmark of cold entities withholds and gives back."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "benchmarks/withheld.py"


@pytest.fixture(scope="module")
def withheld():
    found = importlib.util.spec_from_file_location("withheld", FILE)
    module = importlib.util.module_from_spec(found)
    sys.modules["withheld"] = module  # its dataclasses look themselves up
    found.loader.exec_module(module)
    return module


def triples() -> np.ndarray:
    """A ring of forty that each like the next five; and a loop."""
    rows = [
        (f"e{n:02}", f"r{d % 2}", f"e{(n + d) % 40:02}") for n in range(40) for d in range(1, 6)
    ]
    return np.array([*rows, ("e00", "r0", "e00")], dtype=object)


def test_nobody_who_stays_knows_the_withheld(withheld):
    rows = triples()
    split = withheld.withhold(rows, share=0.1, enough=10, seed=3)
    assert (split.count, split.stay, len(split.known)) == (4, 36, 201)
    assert split.kept[:, [0, 2]].max() < 36
    ends = (split.cold[:, [0, 2]] >= 36).sum(axis=1)
    assert (ends == 1).all()
    both = [h for h, _, t in split.known if h >= 36 and t >= 36]
    assert len(split.kept) + len(split.cold) + len(both) == 201
    names = {tuple(split.ids[[h, t]]) for h, _, t in split.known}
    assert names == {(h, t) for h, _, t in rows}


def test_what_is_given_is_not_asked_for(withheld):
    split = withheld.withhold(triples(), share=0.1, enough=10, seed=3)
    edges = split.columns(2)
    assert np.bincount(edges.owner, minlength=4).tolist() == [2, 2, 2, 2]
    given = {tuple(row) for row in split.given(2).tolist()}
    for owner, relation, other, inverse, _ in zip(*edges, strict=True):
        own = int(owner) + split.stay
        ends = (int(other), own) if inverse else (own, int(other))
        assert (ends[0], int(relation), ends[1]) in given
    asked = split.asked(2, 3, slice(0, 2))
    assert not given & {tuple(row) for row in asked.tolist()}
    assert {max(h, t) - split.stay for h, _, t in asked.tolist()} == {0, 1}
    assert len(asked) == 6
    assert len(split.graph(2).head) == len(split.kept) + 8
    assert split.graph(None).entity_count == split.stay
