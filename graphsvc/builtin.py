"""The events that are part of every schema: what may be said of an entity or of earlier events.

Takes nothing, gives their names; never says what they do (see `effects.py`).
"""

from typing import Final

#: Sets attributes of its actor.
SET_ATTRIBUTES: Final = "set_attributes"
#: Takes back the most recent standing event of a relation between actor and object.
RETRACT: Final = "retract"
#: A person refuses offsite events: what is stored of them is deleted.
OPT_OUT: Final = "opt_out"
#: A person agrees again; restores nothing.
OPT_IN: Final = "opt_in"
#: A catalog entity goes out of answers; it is kept for labels.
RETIRE: Final = "retire"
#: The opposite of `retire`.
RESTORE: Final = "restore"
#: The actor is the same thing as the object, whose id is kept.
MERGE: Final = "merge"

BUILT_IN: Final = frozenset({SET_ATTRIBUTES, RETRACT, OPT_OUT, OPT_IN, RETIRE, RESTORE, MERGE})
CONSENTS: Final = frozenset({OPT_OUT, OPT_IN})
