import warnings

with warnings.catch_warnings():
    # PyTorch Geometric calls what torch 2.13 has deprecated.
    warnings.simplefilter("ignore")
    import torch_geometric.data
    import torch_geometric.nn  # noqa: F401
