"""The large ID tables.

`placement` decides which rows belong to an id; `table` holds the rows, and `lazy` moves them where
they are many. Takes ids, gives vectors; never decides what an id means.
"""
