"""A synthetic ads market with known truth, as a stream of events of any length.

Takes a `World`, gives events under the schema `ads` and, apart from them, how likely every click
and purchase was; never writes. `docs/simulator.md` says what it is like, and what its nulls are.
"""

from graphsvc.simulate.form import MAPPING, as_events, as_table, truth_table
from graphsvc.simulate.reach import Bayes, Reached, auc_of
from graphsvc.simulate.rows import CODE, EVENT, IMPRESSION, KINDS, TRUTH, Chunk, Rows
from graphsvc.simulate.stream import Market
from graphsvc.simulate.world import NULLS, World

__all__ = [
    "CODE",
    "EVENT",
    "IMPRESSION",
    "KINDS",
    "MAPPING",
    "NULLS",
    "TRUTH",
    "Bayes",
    "Chunk",
    "Market",
    "Reached",
    "Rows",
    "World",
    "as_events",
    "as_table",
    "auc_of",
    "truth_table",
]
