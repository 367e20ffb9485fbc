import warnings

with warnings.catch_warnings():
    # PyKEEN imports PyTorch Geometric, which calls what torch 2.13 has deprecated.
    warnings.simplefilter("ignore")
    import pykeen.models  # noqa: F401
