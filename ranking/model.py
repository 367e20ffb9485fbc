"""The ranker's network: tables, attention, crossing layers, logit.

Takes a `FeatureBatch`, gives one logit per row; never trains and never touches a file.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor, nn

from ranking.config import ARMS, RankerConfig
from ranking.examples import KgeMaps
from ranking.features import PADDING, FeatureBatch
from ranking.heads import Experts, Tower
from ranking.idtables.served import sent
from ranking.idtables.table import IdTable, RowTable, each_once
from ranking.interactions.registry import crossing_stack, out_width
from ranking.kge_attention import KgeAttention
from ranking.kge_tokens import KgeTokens, begun_at, id_rows, mapped_by
from ranking.sampling import corrected

# Single-letter dimensions: B rows, D width of x_0, F dense numbers, d vector, k projected vector,
# R relations, T tokens, E ID row, C embedded attributes, H heads, W what a crossing stack gives.


#: Rows of one forward pass outside of training: bounds memory, changes no number.
SCORE_BATCH = 4096
#: Buffers that hold the bundle's maps, in whatever module.
_MAPS = ("projections", "tail_projections", "translations")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """Sizes that follow from the data, not from dials."""

    #: Rows of the heads' and tails' ID tables.
    head_rows: int
    tail_rows: int
    #: Rows of the shared table of categories and list elements.
    codes: int
    categories: int
    lists: int
    dense: int
    #: Numbers of a KGE vector, of a projected one, and relations from head to tail type.
    vector: int
    projected: int
    relations: int
    #: Rows of the two tables that belong to one id alone, and types that tails lead to.
    head_own: int = 0
    tail_own: int = 0
    around: int = 0
    #: Facts of an exposure that are read, and the codes of all of them.
    exposure_fields: int = 0
    exposure_codes: int = 0
    #: Numbers of the pretrained tables that are read of one side.
    facets: int = 0

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def row_width(shape: ModelShape, config: RankerConfig) -> int:
    """D, how many numbers enter the crossing layers."""
    arm = ARMS[config.arm]
    row = shape.vector if arm.begins else config.ids.dim
    embedded = shape.categories + shape.lists + shape.exposure_fields
    width = 2 * (row + shape.facets) + shape.dense + embedded * config.attribute_dim
    width += shape.relations if config.match and arm.reads_kge else 0
    return width + (2 * shape.vector if arm.fields else 0)


class LookedUp(NamedTuple):
    """What a network is given of ids alone: all that lies below it, in tables."""

    #: ID rows of head and tail; without numbers where the arm has none.
    rows: Float[Tensor, "B 2 E"]
    #: 1 for an id whose row is its own.
    own: Float[Tensor, "B 2"]
    #: d_v of head and tail; without numbers where the arm trains none.
    shifts: Float[Tensor, "B 2 d"]


class Parts(NamedTuple):
    """What a forward pass computes on its way to the logit."""

    logits: Float[Tensor, "B H"]
    #: Attention of the head's and the tail's row over tokens; None in the other arms.
    weights: Float[Tensor, "B 2 T"] | None
    #: What each head's tower reads.
    crossed: Float[Tensor, "B H W"]


class RankerModel(nn.Module):
    """One network for all arms and heads.

    x_0      = LN([ID rows or y ; embedded attributes ; dense numbers ; facets ; KGE ; place, hour])
    x_h      = crossing layers over x_0, shared or mixed for the head (`heads.py`)
    logit_h  = tower_h(x_h, rates) + sum of one number per head for the place, and for the hour

    Our design. The numbers of places start at 0 and bypass what is dropped out: how much is seen
    of what stands there is the same whatever it is. How the KGE enters says the arm
    (`ranking/config.py::ARMS`): as fields LN(e_head), LN(e_tail); as what ID rows begin at; as
    tokens (`KgeTokens`) by which `KgeAttention` refines ID rows. With `match`, every arm that reads
    the KGE also reads the bundle's score of each relation,
    -||M_r e_head + r - M_r e_tail||^2 (without b_t: the counters say how popular a tail is).
    """

    def __init__(self, shape: ModelShape, config: RankerConfig, maps: KgeMaps) -> None:
        super().__init__()
        self.id_dropout, self.kge_scale = config.id_dropout, config.ids.kge_scale
        self.arm = ARMS[config.arm]
        self.match = config.match and self.arm.reads_kge
        self.own = (shape.head_own, shape.tail_own)
        row = shape.vector if self.arm.begins else config.ids.dim
        self.head_table = IdTable(shape.head_rows, row, config.ids.precision)
        self.tail_table = IdTable(shape.tail_rows, row, config.ids.precision)
        self.codes = _table(shape.codes, config.attribute_dim, std=0.1)
        self.projections: Tensor
        self.translations: Tensor
        self.register_buffer("projections", torch.from_numpy(maps.projections), persistent=False)
        self.tail_projections: Tensor
        self.register_buffer(
            "tail_projections", torch.from_numpy(maps.tail_projections), persistent=False
        )
        self.register_buffer("translations", torch.from_numpy(maps.translations), persistent=False)
        self.facets = shape.facets
        width = row_width(shape, config)
        if self.match:
            self.match_mean: Tensor
            self.match_deviation: Tensor
            self.register_buffer("match_mean", torch.zeros(shape.relations))
            self.register_buffer("match_deviation", torch.ones(shape.relations))
        if self.arm.attends:
            rows = (shape.head_rows, shape.tail_rows)
            self.tokens = KgeTokens(self.arm, maps, rows, shape.around)
            self.context = nn.Linear(shape.dense, config.attention.context)
            sizes = (self.tokens.count, self.tokens.width, row, config.attention.context)
            self.attention = KgeAttention(*sizes, config.attention)
            self.attention.trained = self.arm.vectors or self.arm.maps
        heads = config.heads.names
        self.exposure_codes: RowTable | None = None
        self.exposure_bias: RowTable | None = None
        if shape.exposure_fields:
            self.exposure_codes = _table(shape.exposure_codes, config.attribute_dim, std=0.1)
            self.exposure_bias = _table(shape.exposure_codes, len(heads), std=0.0)
        self.norm = nn.LayerNorm(width)
        self.experts = Experts(
            lambda: crossing_stack(width, config.crossing),
            width=width,
            stacks=config.heads.stacks,
            heads=len(heads),
        )
        self.dropout = nn.Dropout(config.dropout)
        out = out_width(width, config.crossing)
        self.towers = nn.ModuleList(
            Tower(out, config.hidden, config.dropout, starts_at=float(head == "ctr"))
            for head in heads
        )

    def forward(self, batch: FeatureBatch) -> Float[Tensor, "B H"]:
        return self.parts(batch).logits

    def parts(self, batch: FeatureBatch) -> Parts:
        """Logits, and the attention's weights as their explanation."""
        batch = batch.on(self.norm.weight.device)
        return self.above(batch, self.looked_up(batch))

    def maps(self) -> dict[str, Tensor]:
        """Name -> buffer, of all that is the bundle's and not this network's own."""
        named = self.named_buffers()
        return {name: one for name, one in named if name.rpartition(".")[2] in _MAPS}

    def looked_up(self, batch: FeatureBatch) -> LookedUp:
        """What the tables have of a batch's ids, on the network's device."""
        nothing = batch.dense.new_zeros(len(batch.dense), 2, 0)
        rows, own, shifts = nothing, batch.known, nothing
        if self.arm.rows:
            learned = [
                each_once(self.head_table, batch.head_rows),
                each_once(self.tail_table, batch.tail_rows),
            ]
            rows = torch.stack(learned, dim=1)
            if self.arm.begins:
                # An id with a row of its own has it twice; hashed rows lie behind all of these.
                first_B2 = torch.stack([batch.head_rows[:, 0], batch.tail_rows[:, 0]], dim=1)
                own_B2 = (first_B2 < torch.tensor(self.own)).to(batch.known.dtype)
                own = sent(own_B2, batch.known.device)
        if self.arm.attends:
            shifts = self.tokens.shifts(batch)
        return LookedUp(rows, own, shifts)

    def above(self, batch: FeatureBatch, found: LookedUp) -> Parts:
        """The network over what was looked up; it reads no numbers of rows."""
        shown_B2 = batch.named
        if self.training:
            # Not rescaled: a row that is there should mean the same in training and in serving.
            shown_B2 = shown_B2 * (torch.rand(shown_B2.shape) >= self.id_dropout)
        rows_B2E = self._rows(batch, found, shown_B2)
        weights = None
        fields = [
            self.codes(batch.categories).flatten(1),
            self._pooled(batch.lists).flatten(1),
            batch.dense,
        ]
        if self.facets:
            fields.append((batch.facets * shown_B2[:, :, None]).flatten(1))
        if self.arm.fields:
            fields += [_normalized(batch.head_vector), _normalized(batch.tail_vector)]
        if self.arm.attends:
            context = torch.relu(self.context(batch.dense))
            rows_B2E, weights = self.attention(
                rows_B2E, context, *self.tokens(batch, found.shifts, shown_B2)
            )
        if self.match:
            fields.append(self._match(batch))
        if self.exposure_codes is not None:
            fields.append(self.exposure_codes(batch.exposures).flatten(1))
        x_BD = self.dropout(self.norm(torch.cat([rows_B2E.flatten(1), *fields], dim=1)))
        mixed_BHW = self.experts(x_BD)
        return Parts(self._answer(mixed_BHW, batch), weights, mixed_BHW)

    def _answer(
        self, mixed_BHW: Float[Tensor, "B H W"], batch: FeatureBatch
    ) -> Float[Tensor, "B H"]:
        logits_BH = torch.stack(
            [tower(mixed_BHW[:, n], batch.rates) for n, tower in enumerate(self.towers)], dim=1
        )
        if self.exposure_bias is not None:
            logits_BH = logits_BH + self.exposure_bias(batch.exposures).sum(dim=1)
        return logits_BH

    @torch.no_grad()
    def begin_rows(self, heads: Float[Tensor, "m d"], tails: Float[Tensor, "n d"]) -> None:
        """Let the first rows of both tables begin at vectors, where the arm says so."""
        if self.arm.begins and self.arm.rows:
            for table, vectors in ((self.head_table, heads), (self.tail_table, tails)):
                table.weight[: len(vectors)] = begun_at(vectors, self.kge_scale)

    @torch.no_grad()
    def learn_match_scale(self, batch: FeatureBatch) -> None:
        """Mean and deviation of the bundle's scores over TRAIN rows with both vectors known."""
        both = batch.known.prod(dim=1) > 0
        if self.match and len(self.translations) and int(both.sum()) > 1:
            raw_BR = self._raw_match(batch)
            self.match_mean.copy_(raw_BR[both].mean(dim=0))
            self.match_deviation.copy_(raw_BR[both].std(dim=0).clamp(min=1e-6))

    def _rows(
        self, batch: FeatureBatch, found: LookedUp, shown_B2: Float[Tensor, "B 2"]
    ) -> Float[Tensor, "B 2 E"]:
        """ID rows of head and tail; of one that is not shown, what a stranger has."""
        if not self.arm.begins:
            return found.rows * shown_B2[:, :, None]
        vectors_B2d = torch.stack([batch.head_vector, batch.tail_vector], dim=1)
        begun_B2E = begun_at(vectors_B2d, self.kge_scale)
        if not self.arm.rows:
            return begun_B2E
        return id_rows(found.rows, begun_B2E, found.own, shown_B2)

    def _pooled(self, lists: Int64[Tensor, "B L W"]) -> Float[Tensor, "B L C"]:
        """The mean of each list's elements, zero for an empty one."""
        filled = (lists != PADDING).to(torch.float32)
        count = filled.sum(dim=2, keepdim=True).clamp(min=1.0)
        return (self.codes(lists) * (filled / count)[..., None]).sum(dim=2)

    def _match(self, batch: FeatureBatch) -> Float[Tensor, "B R"]:
        """Scores of the bundle, scaled; 0 where a vector is unknown."""
        score_BR = (self._raw_match(batch) - self.match_mean) / self.match_deviation
        return score_BR * batch.known.prod(dim=1, keepdim=True)

    def _raw_match(self, batch: FeatureBatch) -> Float[Tensor, "B R"]:
        """-||M_r e_head + r - M_r e_tail||^2 of each relation."""
        sought_BRk = mapped_by(self.projections, batch.head_vector) + self.translations
        tails_BRk = mapped_by(self.tail_projections, batch.tail_vector)
        return -(sought_BRk - tails_BRk).square().sum(dim=2)


def _table(codes: int, dim: int, *, std: float) -> RowTable:
    table = RowTable(codes, dim)
    nn.init.normal_(table.weight, std=std)
    return table


def _normalized(x_Bd: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
    return nn.functional.layer_norm(x_Bd, x_Bd.shape[-1:])


def head_scores(model: RankerModel, batch: FeatureBatch) -> Float64[np.ndarray, "n h"]:
    """Logits of a batch by every head, before any correction and calibration; dropout is off."""
    if model.training:  # to tell every part of it takes longer than some of them
        model.eval()
    count = len(batch.dense)
    with torch.inference_mode():
        parts = [
            model(FeatureBatch(*(column[start : start + SCORE_BATCH] for column in batch)))
            for start in range(0, count, SCORE_BATCH)
        ]
    if not parts:
        return np.zeros((0, len(model.towers)))
    return torch.cat(parts).cpu().double().numpy()


def corrected_scores(
    model: RankerModel, batch: FeatureBatch, config: RankerConfig
) -> Float64[np.ndarray, "n h"]:
    """Logits by every head as if no negative had been left out of training, before calibration."""
    return corrected_heads(head_scores(model, batch), config)


def corrected_heads(
    logits_BH: Float64[np.ndarray, "n h"], config: RankerConfig
) -> Float64[np.ndarray, "n h"]:
    """The same of logits that are known; they are changed in place."""
    for number, head in enumerate(config.heads.names):
        if head == "ctr":  # negatives of cvr are clicks, of which none is left out
            logits_BH[:, number] = corrected(logits_BH[:, number], config.training.negatives_kept)
    return logits_BH
