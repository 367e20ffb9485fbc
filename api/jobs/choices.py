"""What a retrain may choose of its rankers, and of tables that are pretrained for them.

Takes JSON, gives a checked choice that is laid over dials that nobody chose; never knows a bound of
its own: what a dial may be is said by its own configuration.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from ranking.config import (
    CROSSINGS,
    CrossingConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import ConfigError
from ranking.pretraining.config import (
    COMBINATIONS,
    FACET_NAMES,
    KGE,
    GnnConfig,
    PretrainingConfig,
)

#: Field -> (part of the configuration, its dial); no part: the configuration itself.
_DIALS: Mapping[str, tuple[str, str]] = {
    "heads": ("heads", "kind"),
    "sharing": ("heads", "sharing"),
    "experts": ("heads", "experts"),
    "cvr_weight": ("heads", "cvr_weight"),
    "crossing": ("crossing", "kind"),
    "layers": ("crossing", "layers"),
    "rank_share": ("crossing", "rank_share"),
    "hidden_share": ("crossing", "hidden_share"),
    "budget": ("", "budget"),
    "epochs": ("training", "epochs"),
    "rows": ("training", "most_rows"),
    "negatives_kept": ("training", "negatives_kept"),
    "calibration": ("", "calibration"),
    "precision": ("ids", "served"),
}
_PARTS: Mapping[str, Any] = {
    "heads": HeadsConfig,
    "crossing": CrossingConfig,
    "ids": IdTableConfig,
    "training": TrainingConfig,
    "": RankerConfig,
}


class RankerChoice(BaseModel):
    """Dials of the rankers of one retrain; what is left out is as the settings say."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"heads": "ctr_cvr", "sharing": "mmoe", "epochs": 4}},
    )

    heads: str | None = Field(
        default=None,
        max_length=64,
        description="What rankers answer: `ctr` (a click), `cvr` (a conversion, given a click), or "
        "`ctr_cvr` (both).",
    )
    sharing: str | None = Field(
        default=None,
        max_length=64,
        description="What heads share: `bottom` (one crossing stack) or `mmoe` (each mixes "
        "several).",
    )
    experts: int | None = Field(
        default=None, le=64, strict=True, description="Crossing stacks of `mmoe`."
    )
    cvr_weight: float | None = Field(
        default=None,
        strict=True,
        allow_inf_nan=False,
        description="What the loss of conversions counts beside that of clicks.",
    )
    crossing: str | None = Field(
        default=None, max_length=64, description="The family of crossing layers, e.g. `ml_dcn`."
    )
    layers: int | None = Field(
        default=None, le=64, strict=True, description="Crossing layers in a row."
    )
    rank_share: float | None = Field(
        default=None,
        strict=True,
        allow_inf_nan=False,
        description="The rank of a crossing layer as a share of its width.",
    )
    hidden_share: float | None = Field(
        default=None,
        strict=True,
        allow_inf_nan=False,
        description="The same of hidden numbers, in families without a low rank.",
    )
    budget: float | None = Field(
        default=None,
        strict=True,
        allow_inf_nan=False,
        description="What crossing layers may cost, as a multiple of a low-rank DCNv2 of three "
        "layers of rank D / 8; how large the family is follows from it.",
    )
    epochs: int | None = Field(
        default=None, le=10_000, strict=True, description="Most passes over the rows."
    )
    rows: int | None = Field(
        default=None,
        le=10**12,
        strict=True,
        description="Most rows that are learned from, the newest; 0: all.",
    )
    negatives_kept: float | None = Field(
        default=None,
        strict=True,
        allow_inf_nan=False,
        description="Share of the rows without a click that are learned from; probabilities are "
        "corrected for it.",
    )
    calibration: str | None = Field(
        default=None, max_length=64, description="`platt` or `isotonic`."
    )
    precision: str | None = Field(
        default=None,
        max_length=64,
        description="What rows of ids are in when a ranker answers: `trained` (as in training), "
        "`int8` or `int4` (in so many bits a number).",
    )

    @field_validator("*")
    @classmethod
    def _may_be(cls, value: Any, info: ValidationInfo) -> Any:
        """Raises `ValueError` with what the dial should be."""
        part, dial = _DIALS[str(info.field_name)]
        if value is not None:
            try:
                _PARTS[part](**{dial: value})
            except ConfigError as error:
                raise ValueError(str(error).removeprefix(f"{dial} ")) from error
        return value

    def idle(self, config: RankerConfig) -> tuple[str, str] | None:
        """A field of the choice that would do nothing, and why: with the dials that it leads to."""
        both = len(config.heads.names) > 1
        grows = CROSSINGS[config.crossing.kind]
        kind, sized = config.crossing.kind, config.budget > 0
        rules: Mapping[str, tuple[bool, str]] = {
            "sharing": (not both and self.sharing == "mmoe", "mmoe is for the heads ctr_cvr"),
            "experts": (config.heads.sharing != "mmoe", "they are of the sharing mmoe"),
            "cvr_weight": (not both, "it is for the heads ctr_cvr"),
            "rank_share": (grows != "rank_share", f"{kind} is not made larger by a rank"),
            "hidden_share": (
                grows != "hidden_share",
                f"{kind} is not made larger by hidden numbers",
            ),
            "negatives_kept": (
                "ctr" not in config.heads.names,
                "rows of cvr are clicks, of which all are learned from",
            ),
        }
        for name, (is_idle, why) in rules.items():
            if getattr(self, name) is not None and is_idle:
                return name, why
        if sized and getattr(self, grows) is not None:
            return grows, f"the budget ({config.budget:g}) says how large {kind} is, 0 lifts it"
        return None

    def over(self, config: RankerConfig) -> RankerConfig:
        """The settings' dials with what was chosen in their place. Raises `ConfigError`."""
        chosen: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for field, (part, dial) in _DIALS.items():
            value = getattr(self, field)
            if value is not None:
                chosen[part][dial] = value
        parts = {
            part: replace(getattr(config, part), **dials)
            for part, dials in chosen.items()
            if part and dials
        }
        return replace(config, **parts, **chosen[""])


class PretrainingChoice(BaseModel):
    """ID tables that rankers of one retrain read, pretrained on the graph span."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"facets": ["contrastive", "kge"], "epochs": 2}},
    )

    facets: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        max_length=len(FACET_NAMES),
        description="`contrastive` (heads near the tails that they acted on), `kge` (the bundle's "
        "vectors), `gnn` (LightGCN over all relations); in the order in which rankers read them.",
    )
    combination: str | None = Field(
        default=None,
        max_length=64,
        description=f"How several are joined: one of {', '.join(COMBINATIONS)}. By default tables "
        "side by side.",
    )
    dim: int | None = Field(
        default=None,
        le=4096,
        strict=True,
        description="Numbers of a vector; where `kge` shares a table with others, the bundle's.",
    )
    epochs: float | None = Field(
        default=None, le=10_000, allow_inf_nan=False, description="Passes over the pairs."
    )
    backend: str | None = Field(
        default=None, max_length=64, description="What computes `gnn`: `pyg` or `dgl`."
    )

    @field_validator("*")
    @classmethod
    def _may_be(cls, value: Any, info: ValidationInfo) -> Any:
        """Raises `ValueError` with what the dial should be."""
        name = str(info.field_name)
        if value is not None:
            dials: Mapping[str, Any] = {name: value}
            try:
                GnnConfig(**dials) if name == "backend" else PretrainingConfig(**dials)
            except ConfigError as error:
                raise ValueError(str(error).removeprefix(f"{name} ")) from error
        return value

    def config(self, *, seed: int, bundle_dim: int) -> PretrainingConfig:
        """All dials; where one table is the KGE's too, it is by default as long as that."""
        plain = PretrainingConfig()
        combination = self.combination or plain.combination
        shared = combination != "concat" and len(self.facets) > 1 and KGE in self.facets
        return PretrainingConfig(
            facets=self.facets,
            combination=combination,
            dim=self.dim or (bundle_dim if shared else plain.dim),
            epochs=self.epochs or plain.epochs,
            seed=seed,
            gnn=GnnConfig(backend=self.backend or plain.gnn.backend),
        )
