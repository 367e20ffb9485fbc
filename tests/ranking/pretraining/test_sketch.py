"""A sketch counts what a dictionary counts, or more."""

from collections import Counter

import numpy as np

from ranking.pretraining.sketch import CountMin


def test_few_things_are_counted_exactly():
    sketch = CountMin(4, 1 << 12, np.random.default_rng(0))
    sketch.see(np.array([7, 7, 7, 1]))
    sketch.see(np.array([7, 1 << 40]))
    assert sketch.total == 6
    assert sketch.counts(np.array([7, 1, 1 << 40, 5])).tolist() == [4, 1, 1, 0]


def test_a_count_is_never_too_low_and_seldom_much_too_high():
    """2,000 things in rows of 256 counters: at most e n / w too many, but for e^-4 of them."""
    random = np.random.default_rng(1)
    seen = (2000 * random.random(50_000) ** 3).astype(np.int64)
    sketch = CountMin(4, 256, random)
    for part in np.array_split(seen, 7):
        sketch.see(part)
    true = Counter(seen.tolist())
    things = np.arange(2000)
    over = sketch.counts(things) - np.array([true[thing] for thing in things.tolist()])
    assert over.min() >= 0
    assert over.max() > 0, "rows this short cannot be exact"
    assert (over > np.e * len(seen) / 256).mean() <= np.exp(-4)


def test_the_same_seed_hashes_alike():
    things = np.arange(100)
    counts = []
    for _ in range(2):
        sketch = CountMin(2, 16, np.random.default_rng(3))
        sketch.see(things)
        counts.append(sketch.counts(things))
    np.testing.assert_array_equal(counts[0], counts[1])
