"""A person without what is known of them offsite: one way for opt-outs and for explanations.

Takes outcomes and states, gives what scoring may use once offsite events are refused; never reads
anything. Scores of somebody who has opted out come from here, and so does what an explanation
calls the score without offsite: the two cannot differ.
"""

from dataclasses import replace

import numpy as np

from graphsvc.folding import NO_OUTCOMES, Outcomes
from graphsvc.schema import Schema
from kge.bundle import Bundle
from ranking.bundle import EntityStates


def onsite_outcomes(schema: Schema, found: Outcomes) -> Outcomes:
    """Those that no offsite event made: all, or none."""
    offsite = schema.events[schema.label.outcome].source == "offsite"
    return NO_OUTCOMES if offsite else found


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


def saw_offsite(bundle: Bundle) -> bool:
    """Whether there is a relation of offsite events that its vectors could have learned from."""
    return any(relation.source == "offsite" for relation in bundle.relations)
