"""What a retrain may choose of how its rankers are trained: at clients in rounds, fair to groups.

Takes JSON, gives the dials of a room; never knows a bound of its own: what a dial may be is said by
its own configuration. What cannot go together is refused here, with the reason.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from ranking.config import ARMS
from ranking.errors import ConfigError
from ranking.fairsmooth.config import FairSmoothConfig
from ranking.fedda.config import (
    METHODS,
    OPTIMIZERS,
    READINGS,
    FederatedConfig,
    MethodConfig,
    RoundsConfig,
)

#: Field -> (part of the configuration, its dial); no part: the configuration itself.
_DIALS: Mapping[str, tuple[str, str]] = {
    "clients": ("", "clients"),
    "batch": ("", "batch"),
    "own_rate": ("", "own_rate"),
    "look_every": ("", "look_every"),
    "method": ("method", "method"),
    "reading": ("method", "reading"),
    "optimizer": ("method", "optimizer"),
    "rate": ("method", "rate"),
    "server_rate": ("method", "server_rate"),
    "momentum": ("method", "momentum"),
    "memory": ("method", "memory"),
    "floor": ("method", "floor"),
    "pull": ("method", "pull"),
    "rounds": ("rounds", "rounds"),
    "steps": ("rounds", "steps"),
    "warm_rounds": ("rounds", "warm_rounds"),
    "clients_per_round": ("rounds", "clients"),
    "end_rounds": ("rounds", "end_rounds"),
    "end": ("rounds", "end"),
    "end_rate": ("rounds", "end_rate"),
    "patience": ("rounds", "patience"),
    "least_gain": ("rounds", "least_gain"),
}
_PARTS: Mapping[str, Any] = {"method": MethodConfig, "rounds": RoundsConfig, "": FederatedConfig}

Word = Annotated[str, Field(max_length=64)]
#: More of anything would be a slip.
Count = Annotated[int, Field(le=1_000_000, strict=True)]
Number = Annotated[float, Field(allow_inf_nan=False)]

#: Where groups are averaged.
BEHIND, INSIDE = "behind", "inside"
#: Arms that are trained where nobody says which: rows of all of them begin at 0.
BLANK_ARMS = ("none", "frozen", "attention_blank")
#: Whose edges the embedding is trained on.
ALL_EDGES, ITEM_ONLY = "all", "item_only"
_WHY_NOT_INSIDE = (
    "a server of rounds is told what the steps of its clients add up to, never the weights of a "
    "group of its own, so how far these are from the mean, which is what is certified, is not "
    "defined there; behind the rounds it is"
)


class FederatedChoice(BaseModel):
    """Rounds in which clients keep their rows; what is left out is as by default."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"clients": "head", "optimizer": "adam", "rounds": 60}},
    )

    clients: Annotated[str, Field(max_length=200)] = Field(
        default="head",
        description="Whose a row is: `head` or `tail` (each entity is a client), or `head.NAME`, "
        "`tail.NAME` (each value of that category is: an advertiser, a segment of users).",
    )
    kge: Word = Field(
        default=ALL_EDGES,
        description="Whose edges the embedding is trained on: those of `all`, in one place, heads "
        "among them; or `item_only`, none of heads, who are folded in wherever they act.",
    )
    method: Word | None = Field(
        default=None, description=f"What moves the weights: one of {', '.join(METHODS)}."
    )
    reading: Word | None = Field(
        default=None,
        description="Which part of the optimizer of `fedda` runs on clients: one of "
        f"{', '.join(READINGS)}.",
    )
    optimizer: Word | None = Field(
        default=None, description=f"The one of `fedda`: one of {', '.join(OPTIMIZERS)}."
    )
    rate: Number | None = Field(default=None, description="The rate of a local step.")
    server_rate: Number | None = Field(
        default=None,
        description="What a whole round counts; of `fedadam`, `fedyogi` and `fedadagrad` the "
        "server's own rate.",
    )
    momentum: Number | None = Field(
        default=None, description="What is left of a mean of gradients after a step."
    )
    memory: Number | None = Field(
        default=None,
        description="What is left of a mean of squares after a round; of Adam and Yogi.",
    )
    floor: Number | None = Field(
        default=None, description="The least that steps are divided by, where they are scaled."
    )
    pull: Number | None = Field(
        default=None, description="How strongly `fedprox` holds clients near where they began."
    )
    rounds: Count | None = Field(
        default=None, description="Most rounds, those of the end phase among them."
    )
    steps: Count | None = Field(default=None, description="Local steps of a client in a round.")
    warm_rounds: Count | None = Field(
        default=None, description="Rounds at the start in which clients take one step."
    )
    clients_per_round: Count | None = Field(
        default=None, description="Clients that are drawn for each round; 0: all."
    )
    end_rounds: Count | None = Field(
        default=None,
        description="Rounds at the end in which clients send one gradient of all their rows.",
    )
    end: Word | None = Field(
        default=None,
        description="When these begin: `count` (they are the last ones) or `plateau` (earlier, "
        "where the loss on valid no longer falls).",
    )
    end_rate: Number | None = Field(
        default=None, description="Their rate as a multiple of the local one."
    )
    patience: Count | None = Field(
        default=None, description="Rounds without a gain after which a plateau is reached."
    )
    least_gain: Number | None = Field(
        default=None, description="The share of itself that the loss has to fall by to be a gain."
    )
    batch: Count | None = Field(default=None, description="Rows of a local step.")
    own_rate: Number | None = Field(
        default=None, description="The rate at which a client moves rows that no other one names."
    )
    look_every: Count | None = Field(
        default=None,
        description="Rounds between two looks at valid; the best look is what is kept.",
    )

    @field_validator("*")
    @classmethod
    def _may_be(cls, value: Any, info: ValidationInfo) -> Any:
        """Raises `ValueError` with what the dial should be."""
        if info.field_name == "kge":
            if value not in (ALL_EDGES, ITEM_ONLY):
                raise ValueError(f"should be {ALL_EDGES} or {ITEM_ONLY}, received {value!r}")
            return value
        part, dial = _DIALS[str(info.field_name)]
        if value is None:
            return value
        dials: dict[str, Any] = {dial: value}
        if dial == "end_rounds":  # how many rounds there are is another field's
            dials["rounds"] = max(1, value)
        try:
            _PARTS[part](**dials)
        except ConfigError as error:
            raise ValueError(str(error).removeprefix(f"{dial} ")) from error
        return value

    @model_validator(mode="after")
    def _fit(self) -> "FederatedChoice":
        try:
            self.config(seed=0)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def config(self, *, seed: int) -> FederatedConfig:
        """All dials; the seed is that of the retrain. Raises `ConfigError`."""
        chosen: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
        for name, (part, dial) in _DIALS.items():
            value = getattr(self, name)
            if value is not None:
                chosen[part][dial] = value
        return FederatedConfig(
            method=MethodConfig(**chosen["method"]),
            rounds=RoundsConfig(**chosen["rounds"], seed=seed),
            **chosen[""],
        )


class FairnessChoice(BaseModel):
    """A last layer that stays near each group's own, and is certified to; the rest is by default.

    It is fitted behind the training of the ranker, on the rows of the valid span.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"example": {"by": "gender", "scale": 0.3}}
    )

    by: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="The category of heads whose values are the groups; those without a value are "
        "a group of their own."
    )
    scale: Number | None = Field(
        default=None, description="Deviation of the noise on every smoothed weight."
    )
    proximity: Number | None = Field(
        default=None, description="How strongly groups are held to their mean; 0: not at all."
    )
    ridge: Number | None = Field(
        default=None, description="How strongly the smoothed weights are held to 0."
    )
    rounds: Count | None = Field(
        default=None, description="Times that all groups are fitted and averaged."
    )
    steps: Count | None = Field(default=None, description="Most steps of one fit.")
    radius: Number | None = Field(
        default=None,
        description="The most that a group's own weights may be from the mean; by default any.",
    )
    least_rows: Count | None = Field(
        default=None, description="Rows without which a group is refused."
    )
    least_outcomes: Count | None = Field(
        default=None, description="Rows of each label without which a group is refused."
    )
    confidence: Number | None = Field(
        default=None, description="How sure the measured rates of the certificate are."
    )
    averaged: Word = Field(
        default=BEHIND,
        description="Where groups are averaged: `behind` the training. `inside` the rounds of a "
        "federated one is refused, since no certificate would be defined there.",
    )

    @field_validator("*")
    @classmethod
    def _may_be(cls, value: Any, info: ValidationInfo) -> Any:
        """Raises `ValueError` with what the dial should be."""
        name = str(info.field_name)
        if name == "averaged":
            if value != BEHIND:
                why = f": {_WHY_NOT_INSIDE}" if value == INSIDE else ""
                raise ValueError(f"should be {BEHIND}, received {value!r}{why}")
        elif name != "by" and value is not None:
            dials: Mapping[str, Any] = {name: value}
            try:
                FairSmoothConfig(**dials)
            except ConfigError as error:
                raise ValueError(str(error).removeprefix(f"{name} ")) from error
        return value

    def config(self, *, seed: int) -> FairSmoothConfig:
        """All dials; the seed is that of the retrain."""
        named = self.model_dump(exclude_none=True, exclude={"by", "averaged"})
        return FairSmoothConfig(**named, seed=seed)


class TrainingChoice(BaseModel):
    """How rankers are trained, where not by plain epochs in one place; both may be asked for."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"example": {"federated": {"clients": "head"}}},
    )

    federated: FederatedChoice | None = Field(
        default=None, description="In rounds, at clients that keep their rows."
    )
    fairness: FairnessChoice | None = Field(
        default=None,
        description="With a last layer that is certified to stay near each group's own; beside "
        "`federated` it is fitted behind the rounds.",
    )

    @model_validator(mode="after")
    def _something(self) -> "TrainingChoice":
        if self.federated is None and self.fairness is None:
            raise ValueError("should hold federated, fairness or both, received neither")
        return self

    @property
    def item_only(self) -> bool:
        """Whether the embedding is to be trained without edges of heads."""
        return self.federated is not None and self.federated.kge == ITEM_ONLY


def in_rounds(training: Any) -> bool:
    """Whether rounds are asked for, by a choice or by what it is still to be read from."""
    told = training.model_dump() if isinstance(training, TrainingChoice) else training
    return isinstance(told, Mapping) and told.get("federated") is not None


def refuse_arms(arms: Sequence[str], training: TrainingChoice | None) -> None:
    """Raise `ValueError` for arms that rounds cannot train."""
    if in_rounds(training):
        why = "rows that begin at the embedding would tell of edges that lie in one place"
        refuse_begun(arms, "training.federated", why)


def refuse_begun(arms: Sequence[str], field: str, why: str) -> None:
    """Raise `ValueError` for arms whose ID rows begin at the embedding, where a field is given."""
    begun = [arm for arm in arms if ARMS[arm].begins]
    if begun:
        raise ValueError(
            "arms should be among those whose ID rows begin at 0 "
            f"({', '.join(name for name, arm in ARMS.items() if not arm.begins)}) with "
            f"{field}, received {', '.join(begun)}: {why}"
        )
