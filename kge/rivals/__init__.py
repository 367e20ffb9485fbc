"""Rivals of TransRA: other models that are trained and measured in the same way.

Takes a graph and the caller's clock, gives a scorer for `kge.evaluate`; never serves anybody.
"""
