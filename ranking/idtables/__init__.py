"""The large ID tables.

`placement` decides which rows belong to an id, `succession` what becomes of them in the next
version; `plan` what they take. `table` holds the rows; who moves them keeps the interface of
`moving`. Takes ids, gives vectors; never decides what an id means.
"""
