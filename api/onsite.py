"""A person without what is known of them offsite: one way for opt-outs and for explanations.

Takes edges and states, gives what scoring may use once offsite events are refused; never reads
anything. Scores of somebody who has opted out come from here, and so does what an explanation
calls the score without offsite: the two cannot differ.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from graphsvc.folding import FoldEdge
from graphsvc.schema import Schema
from ranking.bundle import EntityStates


def onsite_edges(schema: Schema, found: Sequence[FoldEdge]) -> list[FoldEdge]:
    """Those that no offsite event made; of a relation that is declared no more, none."""
    sources = {relation.name: relation.source for relation in schema.relations}
    return [edge for edge in found if sources.get(edge.relation, "offsite") != "offsite"]


def onsite_states(schema: Schema, states: EntityStates) -> EntityStates:
    """States whose counters count onsite events alone, and of which no ID row is used.

    The row was learned beside vectors that saw offsite edges; in its stead there is what a stranger
    has: where a row begins.
    """
    label, nothing = schema.label, np.zeros(len(states), dtype=np.int64)
    shown_offsite, done_offsite = (
        schema.events[event].source == "offsite" for event in (label.exposure, label.outcome)
    )
    return replace(
        states,
        nameless=np.ones(len(states), dtype=bool),
        exposures=nothing if shown_offsite else states.exposures,
        outcomes=nothing if done_offsite else states.outcomes,
    )
