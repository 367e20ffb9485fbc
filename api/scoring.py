"""What a score request is answered: candidates with their probabilities, best first.

Takes what a ranker said and what the graph knows of candidates, gives the answer's nouns; never
looks anything up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from api.lying import Lying
from api.questions import Located
from api.reasons import Reason
from ranking.bundle import Scored as RankerScores


class Scored(NamedTuple):
    """A candidate, the probability that it is ordered by, and those of all heads.

    known: training saw the candidate. cold: it has a vector folded in from `edges` edges. why: if
    it was asked for.
    """

    id: str
    score: float
    known: bool
    #: ctr and cvr, as far as the ranker answers them
    probabilities: Mapping[str, float]
    cold: bool = False
    edges: int = 0
    why: Reason | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A candidate that gets no score: it is retired, or merged into another one."""

    id: str
    reason: Literal["retired", "merged"]
    merged_into: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Candidates, best first."""

    head: Located
    items: list[Scored]
    left_out: list[LeftOut]
    #: What `items` are ordered by, and the place that their probabilities are for; None where the
    #: ranker does not mind.
    order: str
    position: int | None


class Standing(Protocol):
    """What is known of candidates: who is retired, and who is part of another one by now."""

    @property
    def retired(self) -> NDArray[np.bool_]: ...

    @property
    def merged_into(self) -> Sequence[str | None]: ...


def listed(
    ids: Sequence[str],
    scored: RankerScores,
    order: str,
    lying: Lying,
    why: Sequence[Reason | None],
) -> list[Scored]:
    """Candidates with their probabilities, best first."""
    best = scored.best_first(order)
    names = list(scored.probabilities)
    said = np.stack([scored.probabilities[name][best] for name in names], axis=1).tolist()
    cold = lying.known & ~lying.learned
    columns = (scored.by(order), lying.learned, cold, lying.edges)
    values, learned, is_cold, edges = (column[best].tolist() for column in columns)
    return [
        Scored(ids[n], value, known, dict(zip(names, own, strict=True)), cold_, count, why[n])
        for n, value, known, own, cold_, count in zip(
            best.tolist(), values, learned, said, is_cold, edges, strict=True
        )
    ]


def sort_out(candidates: Sequence[str], rows: Standing) -> tuple[NDArray[np.int64], list[LeftOut]]:
    """Places of the candidates that are scored, and the others with the reason."""
    kept, left_out = [], []
    for n, id_ in enumerate(candidates):
        into = rows.merged_into[n]
        if into is not None:
            left_out.append(LeftOut(id=id_, reason="merged", merged_into=into))
        elif rows.retired[n]:
            left_out.append(LeftOut(id=id_, reason="retired"))
        else:
            kept.append(n)
    return np.array(kept, dtype=np.int64), left_out
