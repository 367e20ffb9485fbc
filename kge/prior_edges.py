"""How much an entity's prior weighs where it is folded in: chosen on held-out outcomes.

Takes what was trained and a sample of the span valid, gives a number; never reads the span test.

People of the sample get the vectors that fold-in gives to their training edges, once for each
value, and rank what they did later. The value of the best filtered MRR is taken; where two are
level, the smaller one, which trusts edges more. Our design.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from kge.bundle import acting
from kge.config import FoldInConfig
from kge.evaluate import scorer_of, tail_ranks
from kge.foldin import FoldIn
from kge.scorer import Scorer
from kge.settle import edges_of
from kge.train import Trained
from kge.validation import MEMORY, Sample

#: What is tried (edges).
VALUES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)

# Dimensions: b heads, c candidates.


class Choice(NamedTuple):
    """The value that was taken, and the filtered MRR of each that was tried."""

    value: float
    found: dict[float, float]

    @property
    def reason(self) -> str:
        """Why, in one sentence."""
        told = ", ".join(f"{value:g} {mrr:.4f}" for value, mrr in self.found.items())
        return f"the best filtered MRR of held-out outcomes: {told}"


def choose_prior_edges(
    trained: Trained, sample: Sample, values: Sequence[float] = VALUES
) -> Choice | None:
    """The value that ranks the sample best; None where nobody of it is settled by fold-in."""
    graph, heads = trained.graph, np.unique(sample.queries[:, 0])
    head_type = graph.types[graph.type_code[heads[0]]].name
    if not trained.config.settle or head_type not in acting(graph.relations):
        return None
    as_learned = replace(trained, config=replace(trained.config, settle=False)).arrays()
    edges, found = edges_of(graph, heads), {}
    for value in values:
        foldin = FoldIn(as_learned, FoldInConfig(prior_edges=value))
        as_learned.vectors[heads] = foldin.solve(head_type, len(heads), edges)
        scorer = _Outcomes(scorer_of(as_learned), sample)
        ranks = tail_ranks(scorer, sample.queries, sample.known, memory=MEMORY)
        found[value] = float((1.0 / ranks).mean())
    return Choice(max(found, key=found.__getitem__), found)


class _Outcomes:
    """The scores of one relation's tails alone, as `Sample` counts them."""

    relation_count = 1

    def __init__(self, scorer: Scorer, sample: Sample) -> None:
        self._scorer, self._sample = scorer, sample
        self.entity_count, self.candidate_bytes = sample.count, scorer.candidate_bytes

    def scores(
        self,
        side: int,  # noqa: ARG002  (the outcome alone is asked for)
        heads: Int[np.ndarray, "b"],
        first: int,
        last: int,
    ) -> Float[np.ndarray, "b c"]:
        start = self._sample.start
        return self._scorer.scores(self._sample.relation, heads, start + first, start + last)
