"""Pretraining of ID tables in facets: what is known of an id before a ranker sees a label.

Takes the edges of the span GRAPH and, for one facet, the bundle that was trained on them; gives
tables, a vector per id, as sealed artifacts; never sees a labelled row, nor an edge of a later
span. Which facets there are says `registry.py`.
"""
