"""A sealed ranker's network becomes a file that ONNX Runtime reads, sealed beside the ranker.

Takes a ranker, gives an artifact of kind `forward`, its child; never answers. Weights are in the
file, rows of ids and the bundle's maps are not: they are given at every call, so one file answers
with all bundles that the ranker can read, and precision and place of its rows stay as they are.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from graphsvc.artifact import Artifact, ArtifactStore, Recipe
from ranking.errors import ForwardUnusable, NotExportable
from ranking.features import FeatureBatch
from ranking.forward import COLUMNS, FILE, GIVEN, Forward
from ranking.model import SCORE_BATCH, LookedUp, ModelShape, RankerModel
from ranking.ranker import Ranker

#: How far a logit may be from training's network, at most.
TOLERANCE = 1e-5
#: Rows that the two are compared on: as many as are computed at once, few, and one.
_COMPARED = (SCORE_BATCH, 100, 1)


def seal_forward(store: ArtifactStore, ranker: Ranker) -> Artifact:
    """Export a ranker's network, compare it with the ranker's own, and seal it.

    Raises `NotExportable` where scores are smoothed, where PyTorch cannot export it, and where a
    logit is further than `TOLERANCE` from what the network says as training has it.
    """
    if ranker.smoothing:
        raise NotExportable("scores are smoothed over the last layer, which is read tower by tower")
    with store.draft() as folder:
        (folder / FILE).write_bytes(exported(ranker))
        differs = _compared(folder / FILE, ranker)
        if not differs <= TOLERANCE:
            raise NotExportable(
                f"logits should be within {TOLERANCE:g} of what training's network says, "
                f"they are {differs:.3g} off"
            )
        recipe = Recipe(
            kind="forward",
            parents={"ranker": ranker.digest},
            dials={"tolerance": TOLERANCE},
            metrics={"logit_difference": differs},
        )
        return store.seal(folder, recipe)


def exported(ranker: Ranker) -> bytes:
    """The ONNX file of a ranker's network. Raises `NotExportable`."""
    from torch.onnx.errors import OnnxExporterError  # what answers does without

    maps = ranker.model.maps()
    batch, found = _rows(ranker, 8)
    given = (*batch[2:], *found, *maps.values())
    rows = torch.export.Dim("rows", min=1, max=SCORE_BATCH)
    free = [{0: rows} for _ in GIVEN] + [None for _ in maps]
    try:
        # Their warnings are about themselves, and a worker's reader can do nothing about them.
        with torch.no_grad(), warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Above(ranker.model, tuple(maps)).eval(),
                given,
                input_names=[*GIVEN, *maps],
                output_names=["logits"],
                dynamo=True,
                dynamic_shapes={"given": tuple(free)},
                verbose=False,
            )
    except OnnxExporterError as error:
        raise NotExportable(f"PyTorch cannot export this network: {error}") from error
    if program is None:  # as its type has it
        raise NotExportable("PyTorch gave no network")
    made = program.model_proto
    read = {name for step in made.graph.node for name in step.input}
    for unread in [one for one in made.graph.input if one.name not in read]:
        made.graph.input.remove(unread)
    _forget_origin(made.graph)
    for function in made.functions:
        _forget_origin(function)
    written: bytes = made.SerializeToString(deterministic=True)
    return written


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's words on packages that it would know how to export."""
    told = logging.getLogger("torch.onnx")
    before = told.level
    told.setLevel(logging.ERROR)
    try:
        yield
    finally:
        told.setLevel(before)


class _Above(nn.Module):
    """A network above its tables, whose maps are given like all else."""

    def __init__(self, model: RankerModel, maps: tuple[str, ...]) -> None:
        super().__init__()
        self.names = maps
        self.network = _Logits(model)

    def forward(self, *given: Tensor) -> Tensor:
        columns, found = given[: len(COLUMNS)], given[len(COLUMNS) : len(GIVEN)]
        named = zip(self.names, given[len(GIVEN) :], strict=True)
        maps = {f"model.{name}": one for name, one in named}
        lower = columns[0].new_zeros(columns[0].shape[0], 2)  # what no part above the tables reads
        batch = FeatureBatch(lower, lower, *columns)
        return functional_call(self.network, maps, (batch, LookedUp(*found)))


class _Logits(nn.Module):
    def __init__(self, model: RankerModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: FeatureBatch, found: LookedUp) -> Tensor:
        return self.model.above(batch, found).logits


def _compared(file: Path, ranker: Ranker) -> float:
    """`_difference` of a file. Raises `NotExportable` where ONNX Runtime cannot use it."""
    try:
        return _difference(Forward(file, ranker.model), ranker)
    except ForwardUnusable as error:
        raise NotExportable(str(error)) from error


def _difference(forward: Forward, ranker: Ranker) -> float:
    """How far its logits are from the network's on rows that could be anybody's, at most."""
    furthest = []
    for count in _COMPARED:
        batch, found = _rows(ranker, count)
        with torch.inference_mode():
            apart = forward(batch, found) - ranker.model.eval().above(batch, found).logits
        furthest.append(apart.abs().max())
    return float(torch.stack(furthest).max())  # of what is no number, no number


def _rows(ranker: Ranker, count: int) -> tuple[FeatureBatch, LookedUp]:
    """Rows of any codes that there are, with numbers as large as they are behind their scales.

    Some lists are empty, vectors are of about length 1, and zero where they are not known.
    """
    model, shape = ranker.model, ModelShape(**ranker.artifact.payload["shape"])
    drawn = torch.Generator().manual_seed(count)

    def number(*size: int) -> Tensor:
        return torch.randn(count, *size, generator=drawn)

    def flag(*size: int) -> Tensor:
        return torch.randint(0, 2, (count, *size), generator=drawn).float()

    def code(most: int, *size: int) -> Tensor:
        return torch.randint(0, max(most, 1), (count, *size), generator=drawn)

    known, around_known = flag(2), flag(shape.around)
    filled = flag(shape.lists, 1).long()
    length = shape.vector**-0.5
    batch = FeatureBatch(
        head_rows=code(1, 2),
        tail_rows=code(1, 2),
        categories=code(shape.codes, shape.categories),
        lists=filled * code(shape.codes, shape.lists, ranker.encoder.spec.list_width),
        dense=number(shape.dense),
        rates=number(2),
        head_vector=known[:, :1] * length * number(shape.vector),
        tail_vector=known[:, 1:] * length * number(shape.vector),
        known=known,
        named=flag(2),
        around=around_known[:, :, None] * length * number(shape.around, shape.vector),
        around_known=around_known,
        exposures=code(shape.exposure_codes, shape.exposure_fields),
        facets=number(2, shape.facets),
    )
    row = model.head_table.embedding_dim if model.arm.rows else 0
    shift = shape.vector if model.arm.vectors else 0
    return batch, LookedUp(number(2, row), flag(2), number(2, shift))


def _forget_origin(part: Any) -> None:
    """Take out where in whose source each step was written: it names folders of this machine."""
    for step in part.node:
        del step.metadata_props[:]
        step.doc_string = ""
    for value in (*part.value_info, *getattr(part, "initializer", ())):
        del value.metadata_props[:]
