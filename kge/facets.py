"""Facets: the vectors that a group of relations alone gives, beside those of all relations.

Takes a graph and names of relations, gives the graph of the group and its trained arrays; never
trains. Rows stay those of the whole graph, so that facets of one bundle tell of the same entities.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from kge.arrays import BundleArrays, FacetArrays
from kge.config import check_facets
from kge.errors import UnknownRelation
from kge.triples import Graph


def check_groups(graph: Graph, groups: Mapping[str, Sequence[str]]) -> None:
    """Raise `UnknownRelation` for a group that is empty, has edges of nobody, or names another."""
    check_facets(groups, [relation.name for relation in graph.relations])
    for facet, group in groups.items():
        if not len(group_of(graph, group).head):
            raise UnknownRelation(f"facet {facet} has no edge: nobody has {' or '.join(group)} yet")


def group_of(graph: Graph, group: Sequence[str]) -> Graph:
    """The edges of a group over the same entities; relations keep the graph's order."""
    kept = [n for n, relation in enumerate(graph.relations) if relation.name in group]
    number = np.full(len(graph.relations), -1)
    number[kept] = np.arange(len(kept))
    own = number[graph.relation] >= 0
    return replace(
        graph,
        head=graph.head[own],
        relation=number[graph.relation[own]],
        tail=graph.tail[own],
        weight=graph.weight[own],
        relations=[graph.relations[n] for n in kept],
    )


def as_facet(arrays: BundleArrays) -> FacetArrays:
    """What a bundle keeps of a group's training; who has no edge of it is at the type's prior."""
    vectors = arrays.vectors.copy()
    for code, kind in enumerate(arrays.types):
        rows = np.arange(kind.start, kind.stop)
        vectors[rows[arrays.degree[kind.start : kind.stop] == 0]] = arrays.priors[code]
    return FacetArrays(
        vectors=vectors,
        bias=arrays.bias,
        degree=arrays.degree,
        relations=arrays.relations,
        translations=arrays.translations,
        projections=arrays.projections,
        tail_projections=arrays.tail_projections,
        priors=arrays.priors,
        side_priors=arrays.side_priors,
        dials=arrays.dials,
    )
