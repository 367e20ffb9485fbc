"""Why candidates got their scores: what the ranker looked at, and what it would say without it.

Takes a ranker and the states that were scored, gives a reason for each candidate; never reads the
graph and never names a person but the one who was asked about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from api.errors import Invalid
from ranking.bundle import EntityStates, ExposureStates, Ranker

#: Candidates that are explained at most in one answer, and fields that are told of each.
MOST_EXPLAINED = 50
_MOST_FIELDS = 5


class Token(NamedTuple):
    """A token that ID rows attend to, and its share of the attention of head and tail."""

    token: str
    head: float
    tail: float


class Field(NamedTuple):
    """A field that the ranker reads, and how much lower the logit is where the field is blank."""

    field: str
    change: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a candidate got its score.

    tokens: heaviest first; none for a ranker without attention. fields: strongest first. Scores are
    calibrated: without what the head did offsite, and without any vector of head and candidate.
    """

    tokens: Sequence[Token]
    fields: Sequence[Field]
    without_offsite: float
    without_kge: float


def check_explained(count: int) -> None:
    """Raise `Invalid` where more would have to be explained than is."""
    if count > MOST_EXPLAINED:
        wanted = f"at most {MOST_EXPLAINED} where explain is asked for"
        told = {"field": "candidates", "value": count, "expected": wanted}
        raise Invalid(f"candidates should be {wanted}, received {count}", errors=[told])


def reasons(
    ranker: Ranker,
    head: EntityStates,
    onsite: EntityStates,
    tails: EntityStates,
    *,
    exposures: ExposureStates,
    order: str,
) -> list[Reason]:
    """One reason per tail, in their order; `onsite` is the head as an opt-out would leave it.

    `exposures`, `order`: as the scores that are explained.
    """
    if not len(tails):
        return []
    tokens = _tokens(ranker, head, tails)
    names, changes = ranker.field_changes(head, tails, exposures, order=order)
    strongest = np.argsort(-np.abs(changes), axis=1, kind="stable")[:, :_MOST_FIELDS]
    without_offsite = ranker.scored(onsite, tails, exposures).by(order)
    without_kge = ranker.scored_without_kge(head, tails, exposures).by(order)
    return [
        Reason(
            tokens=tokens[n],
            fields=[Field(names[f], float(changes[n, f])) for f in strongest[n].tolist()],
            without_offsite=float(without_offsite[n]),
            without_kge=float(without_kge[n]),
        )
        for n in range(len(tails))
    ]


def _tokens(ranker: Ranker, head: EntityStates, tails: EntityStates) -> list[list[Token]]:
    """The tokens that got any attention, of each tail."""
    found = ranker.explain(head, tails)
    if found is None:
        return [[] for _ in range(len(tails))]
    told = []
    for weights in found.weights.tolist():  # [2, T]
        pairs = zip(found.tokens, *weights, strict=True)
        seen = [Token(*one) for one in pairs if one[1] or one[2]]
        told.append(sorted(seen, key=lambda token: -(token.head + token.tail)))
    return told
