"""Why a score is what it is: what each field that a ranker reads adds to the logit.

Takes a model and states, gives changes of the logit; never looks anything up. A field is blanked as
serving would meet it where nothing is known, so a blank is something that the ranker has learned
about: an unset attribute, a stranger's ID row, no vector, nothing counted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64

from ranking.features import Encoder, FeatureBatch
from ranking.model import RankerModel, head_scores
from ranking.spec import SideSpec
from ranking.states import EntityStates, ExposureStates


class FieldChanges(NamedTuple):
    """What fields add to the logits of n pairs."""

    #: `<type>.<attribute>`, `<type>.id`, `<type>.counters`, `<type>.vector`, `<type>-><type>`.
    fields: tuple[str, ...]
    #: float64 [n, fields]: logit as it is minus logit with the field blank; above 0 it helps.
    changes: Float64[np.ndarray, "n f"]


def field_changes(
    model: RankerModel,
    encoder: Encoder,
    heads: EntityStates,
    tails: EntityStates,
    *,
    exposures: ExposureStates | None = None,
    columns: Sequence[int] = (0,),
) -> FieldChanges:
    """How much the logit of each pair falls when one field is blank and all others stay.

    change_f = logit(x) - logit(x with f blank)

    `columns`: whose logit, by the number of the head; of several heads the sum of theirs.

    Our design. The changes do not add up to the logit: fields that say the same stand in for each
    other. All pairs and fields are one batch. Raises `StatesMismatch`.
    """
    blanked = list(_blanked(model, encoder, heads, tails))
    pairs = [(heads, tails), *((h, t) for _, h, t in blanked)]
    encoded = [encoder.encode(h, t, exposures) for h, t in pairs]
    joined = FeatureBatch(*(torch.cat(column) for column in zip(*encoded, strict=True)))
    scores = head_scores(model, joined)[:, list(columns)].sum(axis=1)
    logits = scores.reshape(len(encoded), len(tails))
    return FieldChanges(tuple(name for name, *_ in blanked), (logits[0] - logits[1:]).T)


def without_kge(model: RankerModel, states: EntityStates) -> EntityStates:
    """Entities of which no vector is known, nor a row that began at one."""
    bare = replace(states, known=np.zeros(len(states), dtype=bool), around={})
    return nameless(bare) if model.arm.begins else bare


def nameless(states: EntityStates) -> EntityStates:
    """Entities of which nothing is used that was learned about these very ids."""
    return replace(states, nameless=np.ones(len(states), dtype=bool))


def _blanked(
    model: RankerModel, encoder: Encoder, heads: EntityStates, tails: EntityStates
) -> Iterator[tuple[str, EntityStates, EntityStates]]:
    """(field, heads, tails) with one field blank in each."""
    for name, blank in _side(model, encoder.spec.head, heads):
        yield name, blank, tails
    for name, blank in _side(model, encoder.spec.tail, tails):
        yield name, heads, blank
    for type_ in encoder.spec.around:
        others = {name: found for name, found in tails.around.items() if name != type_}
        yield led_to(encoder.spec.tail.type, type_), heads, replace(tails, around=others)


def _side(
    model: RankerModel, side: SideSpec, states: EntityStates
) -> Iterator[tuple[str, EntityStates]]:
    nothing = np.zeros(len(states), dtype=np.int64)
    for attribute in side.attributes:
        others = {name: v for name, v in states.attributes.items() if name != attribute}
        yield f"{side.type}.{attribute}", replace(states, attributes=others)
    yield f"{side.type}.counters", replace(states, exposures=nothing, outcomes=nothing)
    if model.arm.rows or model.arm.vectors or model.facets:
        yield f"{side.type}.id", nameless(states)
    if model.arm.reads_kge:
        yield f"{side.type}.vector", replace(states, known=nothing.astype(bool))


def led_to(tail_type: str, type_: str) -> str:
    """What the token, and the field, of what an item leads to is called: `ad->product`."""
    return f"{tail_type}->{type_}"
