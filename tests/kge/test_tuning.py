"""How hard an index searches: as hard as it has to, and no harder where that finds no more."""

import numpy as np

from kge.config import IndexConfig
from kge.kinds import Choice
from kge.parts import directions
from kge.tuning import Sample, _closer, tune


def alike(of: int, apart: float) -> np.ndarray:
    """Unit vectors in heaps of so many, each a little apart from the others of its heap."""
    draw = np.random.default_rng(5)
    heaps = draw.normal(size=(4000 // of, 16)).repeat(of, axis=0)
    return directions((heaps + apart * draw.normal(size=heaps.shape)).astype(np.float32))


def tuned(units: np.ndarray, least: float):
    own = np.sort(np.random.default_rng(6).choice(len(units), 200, replace=False))
    choice = Choice(kind="ivf_sq8", bytes_per_vector=24.0, reason="tried")
    last = Choice(kind="scan", bytes_per_vector=0.0, reason="nothing else")
    config = IndexConfig(least_recall=least)
    return tune([choice, last], units, Sample(units[own], own), config)


def test_it_searches_until_half_the_misses_are_left():
    made = tuned(alike(of=1, apart=0.0), 0.9)
    assert made.kind == "ivf_sq8"
    assert made.recall[1.0][0] >= 0.95


def test_between_two_efforts_the_least_is_found_to_a_tenth():
    asked = []

    def recall(effort: int) -> float:
        asked.append(effort)
        return effort / 2000

    assert _closer(recall, 0.55, (1024, 1536), 0.768) == (1152, 0.576)
    assert asked == [1280, 1152, 1088]
    assert _closer(recall, 0.55, (4, 4), 0.6) == (4, 0.6), "the first one was enough"


def test_what_bytes_cannot_tell_apart_is_not_searched_for_ever():
    """Heaps of 200 that a byte per coordinate makes one: of ten neighbors some are found by chance,
    and no more of them in all 102 cells."""
    units, least = alike(of=200, apart=2e-3), 0.3
    hardest = tuned(units, 0.999).tried[0]
    assert hardest[0] == "ivf_sq8"
    assert least < hardest[1] < (1 + least) / 2  # the aim is out of reach, what is due is not
    made = tuned(units, least)
    assert made.kind == "ivf_sq8"
    assert made.effort <= 8
    assert made.recall[1.0][0] >= (least + hardest[1]) / 2 - 0.01
