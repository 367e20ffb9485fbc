"""Crossing layers: x_0 and x_l of equal width D in, x_{l+1} of width D out.

Takes tensors, gives tensors; never looks up an embedding.
"""
