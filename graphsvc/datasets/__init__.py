"""Real data sets as streams of events, with the schemas that they need.

Takes files that are on disk already, gives raw events as an application would post them; never
downloads and never writes.
"""

from graphsvc.datasets.movielens import LIKED, MovieLensCounts, movielens
from graphsvc.datasets.retailrocket import RETAILROCKET_SCHEMA, RetailRocketCounts, retailrocket
from graphsvc.datasets.triples import Triples, as_toml, read_triples

__all__ = [
    "LIKED",
    "RETAILROCKET_SCHEMA",
    "MovieLensCounts",
    "RetailRocketCounts",
    "Triples",
    "as_toml",
    "movielens",
    "read_triples",
    "retailrocket",
]
