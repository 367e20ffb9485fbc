"""graphsvc remembers: events become a typed graph, and the graph becomes sealed snapshots.

Takes events, gives snapshots; never computes an embedding and never speaks HTTP.
"""
