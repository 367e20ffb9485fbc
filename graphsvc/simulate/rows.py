"""What a market gives, as columns: what happened, and how likely it was.

Takes columns, gives rows of two kinds that are never mixed: events hold nothing of the truth.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from graphsvc.builtin import OPT_OUT, SET_ATTRIBUTES
from graphsvc.simulate.draws import Numbers

#: Entity type -> what stands before the number in an id.
PREFIXES = {
    "user": "u",
    "ad": "a",
    "product": "p",
    "advertiser": "v",
    "campaign": "k",
    "category": "c",
}


class Kind(NamedTuple):
    """A kind of event; without a `tail` it is about one entity."""

    name: str
    source: str
    head: str
    tail: str | None = None


#: By code. Of the same second, an earlier code comes first.
KINDS = (
    Kind(SET_ATTRIBUTES, "structure", "user"),
    Kind(SET_ATTRIBUTES, "structure", "ad"),
    Kind(SET_ATTRIBUTES, "structure", "product"),
    Kind("product_in_category", "structure", "product", "category"),
    Kind("product_of_advertiser", "structure", "product", "advertiser"),
    Kind("ad_of_product", "structure", "ad", "product"),
    Kind("ad_of_advertiser", "structure", "ad", "advertiser"),
    Kind("ad_of_campaign", "structure", "ad", "campaign"),
    Kind("impression", "onsite", "user", "ad"),
    Kind("click", "onsite", "user", "ad"),
    Kind("long_click", "onsite", "user", "ad"),
    Kind("save", "onsite", "user", "ad"),
    Kind("closeup", "onsite", "user", "ad"),
    Kind("hide", "onsite", "user", "ad"),
    Kind("page_visit", "offsite", "user", "product"),
    Kind("sign_up", "offsite", "user", "advertiser"),
    Kind("add_to_cart", "offsite", "user", "product"),
    Kind("checkout", "offsite", "user", "product"),
    Kind(OPT_OUT, "onsite", "user"),
)
USER, AD, PRODUCT = 0, 1, 2
CODE = {kind.name: code for code, kind in enumerate(KINDS) if kind.name != SET_ATTRIBUTES}
IMPRESSION, CHECKOUT = CODE["impression"], CODE["checkout"]

#: `origin` says where an event comes from: four times a number, and which numbers these are. With
#: the name it is an event's id, and an impression's origin is that of all that follows it.
EXPOSED, OWN_ACCORD, STANDING = 0, 1, 2

EVENT = np.dtype(
    [
        ("time", np.int64),
        ("kind", np.int8),
        ("head", np.int64),
        ("tail", np.int64),
        ("origin", np.int64),
        ("position", np.int32),
    ]
)
#: A row per impression, in the order in which these come.
TRUTH = np.dtype(
    [
        ("origin", np.int64),
        ("time", np.int64),
        ("user", np.int64),
        ("ad", np.int64),
        ("position", np.int32),
        # the chance that it is looked at
        ("looked_at", np.float64),
        # of a click, given that it is
        ("click", np.float64),
        # that a purchase is seen within the window, given a click; not a number without consent
        ("purchase", np.float64),
        # until when offsite events of the person may be used: 0 never, 2^62 always
        ("consent_ends", np.int64),
        # what came of it
        ("was_looked_at", np.bool_),
        ("was_clicked", np.bool_),
        ("was_bought", np.bool_),
        ("bot", np.bool_),
    ]
)
Rows = NDArray[np.void]


class Chunk(NamedTuple):
    """Events in order of time, and the truth about the impressions among them."""

    events: Rows
    truth: Rows


def happened(
    kind: str | int | Numbers, ends: tuple[Numbers, Numbers | int], time: Numbers, origin: Numbers
) -> Rows:
    """Columns as events that have no position."""
    rows = np.empty(len(time), dtype=EVENT)
    rows["kind"] = CODE[kind] if isinstance(kind, str) else kind
    rows["head"], rows["tail"] = ends
    rows["time"], rows["origin"], rows["position"] = time, origin, -1
    return rows


def in_order(rows: Rows) -> Rows:
    """By time, then by kind, then by origin."""
    return rows[np.lexsort((rows["origin"], rows["kind"], rows["time"]))]
