"""Checkpoints: a training on disk, to go on with after its process has died.

Takes a training, writes one safetensors file and reads it back into a training that was begun with
the same graph and dials; never trains. Whoever runs the training says when.

What is random in a step depends on its number alone, so a training that goes on from a checkpoint
takes the very steps that the first one would have taken.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from graphsvc.ids import digest_of_json
from kge.errors import CheckpointMismatch
from kge.train import Training

#: Of what a training keeps and of the steps it takes: another version's checkpoint is refused.
VERSION = 3

_NUMBERS = "training"


def save(training: Training, file: Path, extra: Mapping[str, Any] | None = None) -> None:
    """Write where a training is; a file that is there is replaced once the new one is whole.

    `extra`: what the caller wants to know again, as JSON.
    """
    numbers = {**training.numbers(), "identity": identity(training), "extra": dict(extra or {})}
    half = file.with_suffix(".half")
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in training.tensors().items()}
    save_file(tensors, half, metadata={_NUMBERS: json.dumps(numbers)})
    with half.open("rb") as written:
        os.fsync(written.fileno())
    half.replace(file)


def load(training: Training, file: Path) -> dict[str, Any]:
    """Bring a training to where `save` left it; gives the caller's `extra`.

    Raises `CheckpointMismatch` for a file that another graph, other dials or another version wrote,
    and for one that is damaged.
    """
    try:
        opening = safe_open(file, framework="pt")
    except SafetensorError as error:
        raise CheckpointMismatch(
            f"checkpoint {file.name} is damaged ({error}); delete it to begin anew"
        ) from error
    with opening as opened:
        numbers = json.loads((opened.metadata() or {}).get(_NUMBERS, "{}"))
        if numbers.get("identity") != identity(training):
            raise CheckpointMismatch(
                f"checkpoint {file.name} belongs to another training: its graph or dials differ "
                f"from this one's; delete it to begin anew"
            )
        training.restore(numbers)
        for name, tensor in training.tensors().items():
            tensor.copy_(opened.get_tensor(name))
    extra: dict[str, Any] = numbers["extra"]
    return extra


def identity(training: Training) -> str:
    """A digest of what a training is made of: its edges, its dials, and how it began."""
    graph, edges = training.graph, hashlib.sha256()
    for column in (graph.head, graph.relation, graph.tail, graph.weight):
        edges.update(np.ascontiguousarray(column).data)
    return digest_of_json([VERSION, edges.hexdigest(), asdict(training.config), training.origin])
