"""PyKEEN's own realistic ranks of each triple, to compare ours with."""

from collections.abc import Sequence

import numpy as np
import torch
from pykeen.evaluation import RankBasedEvaluator


def pykeen_ranks(model, triples: np.ndarray, known: Sequence[np.ndarray], batch: int = 32):
    """(head ranks, tail ranks), in the order of the triples."""
    evaluator = RankBasedEvaluator(clear_on_finalize=False)
    evaluator.evaluate(
        model=model,
        mapped_triples=torch.from_numpy(triples),
        additional_filter_triples=[torch.from_numpy(part) for part in known],
        batch_size=batch,
        use_tqdm=False,
    )
    return tuple(np.concatenate(evaluator.ranks[side, "realistic"]) for side in ("head", "tail"))
