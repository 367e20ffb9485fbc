"""Link prediction in parts: by relation, by cardinality, by how often an entity was seen.

Takes ranks and the triples they belong to, gives figures per slice; never scores anything.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from kge.evaluate import LinkPrediction, figures
from kge.ranks import buckets

#: A side has one partner where training triples have fewer than this on average (Bordes et al.
#: 2013, section 4.3).
MANY = 1.5


class Slice(NamedTuple):
    """Figures of one part of the ranks."""

    #: e.g. `relation=likes`, `cardinality=1-n/tail`, `degree=1-4`
    name: str
    #: ranks it holds
    ranks: int
    mrr: float
    hits: dict[int, float]


def drill_down(
    found: LinkPrediction,
    triples: Int[np.ndarray, "n 3"],
    training: Int[np.ndarray, "e 3"],
    relation_names: Sequence[str],
    *,
    entity_count: int,
) -> list[Slice]:
    """Slices by relation (both sides), by cardinality (sides apart) and by degree in training.

    The degree is that of the ranked entity. Parts without a rank are left out.
    """
    relation = triples[:, 1]
    classes = np.array(cardinalities(training, len(relation_names)))[relation]
    degree = np.bincount(training[:, [0, 2]].ravel(), minlength=entity_count)
    both = np.concatenate([found.head_rank, found.tail_rank])
    parts: list[tuple[str, Float[np.ndarray, "_"]]] = [
        (f"relation={relation_names[r]}", both[np.tile(relation == r, 2)])
        for r in np.unique(relation).tolist()
    ]
    for name in ("1-1", "1-n", "n-1", "n-n"):
        inside = classes == name
        parts.append((f"cardinality={name}/head", found.head_rank[inside]))
        parts.append((f"cardinality={name}/tail", found.tail_rank[inside]))
    ends = np.concatenate([degree[triples[:, 0]], degree[triples[:, 2]]])
    parts += [(name, both[inside]) for name, inside in buckets(ends)]
    return [Slice(name, len(ranks), *figures(ranks)) for name, ranks in parts if len(ranks)]


def cardinalities(training: Int[np.ndarray, "e 3"], relations: int) -> list[str]:
    """Each relation's class, head side first: `1-n` = one head, many tails.

    A side counts as n where it has `MANY` or more partners on average. A relation without a
    training triple is `1-1`.
    """
    triples = np.unique(training, axis=0)
    number = np.bincount(triples[:, 1], minlength=relations)
    names = []
    of_heads = np.unique(triples[:, [1, 0]], axis=0)[:, 0]
    of_tails = np.unique(triples[:, [1, 2]], axis=0)[:, 0]
    heads = np.bincount(of_heads, minlength=relations)
    tails = np.bincount(of_tails, minlength=relations)
    for r in range(relations):
        heads_per_tail = number[r] / max(1, tails[r])
        tails_per_head = number[r] / max(1, heads[r])
        names.append(
            f"{'n' if heads_per_tail >= MANY else '1'}-{'n' if tails_per_head >= MANY else '1'}"
        )
    return names
