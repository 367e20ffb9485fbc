"""FairSmooth: a classifier for all groups that stays provably near each group's own.

Implements the idea of FairSmooth (arXiv 2206.11423); every formula and choice here is ours, since
the paper's body was not available. `smoothing.py` and `certificates.py` are pure mathematics.
"""
