"""The crossing layers: x_0 of width D in, what they make of it out, by the family that dials name.

Takes tensors, gives tensors; never looks up an embedding.
"""
