"""What a job may be asked to do.

Takes JSON, gives checked requests and the steps they lead to; never holds a personal id, since job
inputs are kept.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from api.jobs.choices import PretrainingChoice, RankerChoice
from api.jobs.training import BLANK_ARMS, TrainingChoice, in_rounds, refuse_arms, refuse_begun
from graphsvc.events import LATEST_TIME
from graphsvc.export import Conversions, Split
from graphsvc.ids import DIGEST, NAME
from graphsvc.snapshot import InteractionInfo
from ranking.compare import NOT_DECIDED, PASSED
from ranking.config import RankerConfig


class JobName(StrEnum):
    """The workflows that exist. A name that no worker knows would block the queue."""

    RETRAIN = "retrain"
    ERASE = "erase"


_EXPECTED = (
    f"should be a whole number of seconds since 1970 (0 to {LATEST_TIME}), or the digest of a "
    "snapshot, 64 hexadecimal digits"
)


def _in_one_sentence(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    # Else each of the two forms would complain for itself, under a name that nobody sent.
    try:
        return check(value)
    except ValidationError:
        late = isinstance(value, int) and value > LATEST_TIME
        hint = "; this looks like milliseconds" if late else ""
        raise PydanticCustomError("as_of", "{says}", {"says": _EXPECTED + hint}) from None


AsOf = Annotated[
    Annotated[int, Field(strict=True, ge=0, le=LATEST_TIME)]
    | Annotated[str, Field(pattern=DIGEST.pattern)],
    WrapValidator(_in_one_sentence),
]
#: The names in `ranking/config.py::ARMS`, as types can read them; a test keeps both alike.
ArmName = Literal[
    "none",
    "frozen",
    "initial",
    "both",
    "attention",
    "attention_vectors",
    "attention_maps",
    "attention_all",
    "attention_swapped",
    "attention_blank",
]
_ARMS = len(get_args(ArmName))
Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
EventName = Annotated[str, Field(pattern=NAME.pattern)]
#: Why somebody overrules the gate, in words that say something.
REASON = r"^[^\x00]*[^\x00\s][^\x00]*$"
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=REASON)]
_MOST_CONVERSIONS = 100
_DAY_SECONDS = 86_400


class RetrainRequest(BaseModel):
    """A retrain: snapshot, check, embed, index, map, rank, judge, gate, promote; or a refresh."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    split: Literal["global_time", "per_user_time"] = Field(
        default="global_time",
        description="How exposures are cut into the spans graph, train, valid, calibrate, test: at "
        "four moments for all (what a service needs), or at four moments of each user (for data "
        "whose users live briefly).",
    )
    shares: tuple[Share, Share, Share, Share, Share] = Field(
        default=Split().shares,
        description="Share of the exposures in each span: graph, train, valid, calibrate, test. "
        "The default keeps 60 % for learning; three quarters of it go to the graph.",
    )
    arms: Annotated[tuple[ArmName, ...], Field(min_length=1, max_length=_ARMS)] = Field(
        default=("none", "frozen", "attention"),
        description="Rankers to train, by how the KGE enters: not at all (`none`), as frozen "
        "fields (`frozen`), as what ID rows begin at (`initial`), both, by attention over frozen "
        "tokens (`attention`), or with vectors, maps or all of these trained, or the sides "
        "swapped. The best on the valid span is the candidate, which the gate compares with "
        "what is live. By default with `training.federated`: none, frozen and attention_blank.",
    )
    ranker: RankerChoice | None = Field(
        default=None,
        description="Dials of the rankers, for all arms alike: heads, crossing layers, budget, "
        "calibration. What is left out is as the settings say.",
    )
    pretraining: PretrainingChoice | None = Field(
        default=None,
        description="ID tables to pretrain on the graph span, which all rankers then read. By "
        "default none.",
    )
    training: TrainingChoice | None = Field(
        default=None,
        description="How rankers are trained, where not by plain epochs in one place: `federated` "
        "(in rounds, at clients that keep their rows), `fairness` (with a last layer that is "
        "certified to stay near each group's own), or both.",
    )
    conversions: (
        Annotated[tuple[EventName, ...], Field(min_length=1, max_length=_MOST_CONVERSIONS)] | None
    ) = Field(
        default=None,
        description="Events that count as conversions of what was clicked. By default those of the "
        "schema's label, or, where it names none, every offsite relation that a click can lead to.",
    )
    conversion_days: Annotated[float, Field(gt=0, le=365, allow_inf_nan=False)] = Field(
        default=Conversions().days,
        description="So many days after a click a conversion still belongs to it.",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        default=0, description="Seed of every random choice."
    )
    promote: bool = Field(
        default=True,
        description="Promote the candidate's trio if the gate lets it pass. The gate is asked "
        "in any case.",
    )
    promote_undecided: Reason | None = Field(
        default=None,
        description="Why the trio is to be promoted also where the gate decides nothing, for one "
        "because there are too few users. Kept with the promotion, as the reason of one by hand "
        "is. What the gate refuses stays refused.",
    )
    as_of: AsOf | None = Field(
        default=None,
        description="Train on the log as it was: at the end of a second since 1970 that is not in "
        "the future, or at the watermark of a snapshot, given by its digest. By default: as it is "
        "now.",
    )
    refresh: bool = Field(
        default=False,
        description="Begin the embedding with the live bundle, train it for a share of the epochs "
        "and keep its frame, so that the live ranker is promoted with the new bundle. Trains no "
        "ranker, so `arms` may not be given.",
    )
    carry: bool = Field(
        default=False,
        description="Begin ID rows where those of the live ranker ended, each with what its "
        "optimizer remembers of it. For arms whose rows begin at 0; by default these are trained "
        "then.",
    )
    allow_leaks: bool = Field(
        default=False,
        description="Go on where edges of the graph give away labels that rankers are to guess; "
        "the report says so.",
    )

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps of this retrain in their order; the names that progress and errors use.

        A job that goes on counts its finished steps against them, so a step that is added,
        moved or renamed here needs a higher `APPLICATION_VERSION` in `api/jobs/queue.py`.
        """
        last = ("judge", "gate", "export", *(("promote",) if self.promote else ()))
        first = ("moment", "snapshot", "check", "embed")
        if self.refresh:
            return (*first, "frame", "index", "map", *last)
        between = ("index", "map", *(() if self.pretraining is None else ("pretrain",)))
        return (*first, *between, *(f"rank_{arm}" for arm in self.arms), *last)

    @property
    def begins_with_live(self) -> str:
        """The field by which the job begins with what is live; empty where it does not."""
        return next((name for name in ("refresh", "carry") if getattr(self, name)), "")

    def why_promoted(self, decision: str) -> str | None:
        """Why a candidate of which the gate says so is promoted; None where it is not."""
        if self.promote and decision == PASSED:
            return "passed the gate"
        # Given where `promote` is true alone.
        return self.promote_undecided if decision == NOT_DECIDED else None

    @property
    def item_only(self) -> bool:
        """Whether the embedding is to be trained without edges of heads."""
        return self.training is not None and self.training.item_only

    def dials(self, settings: RankerConfig) -> RankerConfig:
        """Those of the rankers: what was chosen over what the settings say."""
        return settings if self.ranker is None else self.ranker.over(settings)

    @property
    def counted(self) -> Conversions:
        """What counts as a conversion, and for how long."""
        return Conversions(events=self.conversions, days=self.conversion_days)

    @model_validator(mode="before")
    @classmethod
    def _arms_of_rounds(cls, told: Any) -> Any:
        """Where nobody says which arms, those that rounds can train."""
        if not isinstance(told, Mapping) or "arms" in told or told.get("refresh"):
            return told
        blank = in_rounds(told.get("training")) or told.get("carry") is True
        return {**told, "arms": BLANK_ARMS} if blank else told

    @model_validator(mode="after")
    def _check(self) -> "RetrainRequest":
        if abs(sum(self.shares) - 1) > 1e-9:
            raise ValueError(f"shares should sum to 1, received {_as_sent(self.shares)}")
        if len(set(self.arms)) != len(self.arms):
            raise ValueError(f"arms should differ from one another, received {_as_sent(self.arms)}")
        if self.promote_undecided is not None and not self.promote:
            raise ValueError("promote_undecided should not be given where promote is false")
        if self.refresh and "arms" in self.model_fields_set:
            raise ValueError(
                f"arms should not be given with refresh, which trains no ranker, "
                f"received {_as_sent(self.arms)}"
            )
        for name in ("ranker", "pretraining", "training"):
            chosen = getattr(self, name)
            if self.refresh and chosen is not None:
                raise ValueError(
                    f"{name} should not be given with refresh, which trains no ranker, received "
                    f"{chosen.model_dump_json(exclude_none=True)}"
                )
        refuse_arms(self.arms, self.training)
        self._check_carry()
        if self.item_only and self.pretraining is not None:
            raise ValueError(
                "pretraining should not be given with training.federated.kge item_only, since "
                "tables are pretrained on edges of heads in one place, received "
                f"{self.pretraining.model_dump_json(exclude_none=True)}"
            )
        return self

    def _check_carry(self) -> None:
        if not self.carry:
            return
        if self.refresh:
            raise ValueError("carry should be false with refresh, which trains no ranker")
        if in_rounds(self.training):
            raise ValueError(
                "carry should be false with training.federated, whose rows are those of clients"
            )
        refuse_begun(
            self.arms,
            "carry",
            "rows that begin at the embedding lie in its space, which is another one now",
        )

    @model_serializer(mode="wrap")
    def _told(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # What is kept of a job is read again, and then a refresh names no arms either.
        told: dict[str, Any] = write(self)
        if self.refresh:
            del told["arms"]
        return told


def _as_sent(values: tuple[float | str, ...]) -> str:
    return json.dumps(values)


class EraseRequest(BaseModel):
    """An erasure of all who are on the list and not done; the list is no input of a job."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps, in their order."""
        return ("tables", "artifacts", "switch", "bytes", "certify")


#: What each job may be asked.
REQUESTS: Mapping[JobName, type[RetrainRequest] | type[EraseRequest]] = {
    JobName.RETRAIN: RetrainRequest,
    JobName.ERASE: EraseRequest,
}


def conversions_of(info: InteractionInfo) -> dict[str, Any]:
    """The fields of a request that count the conversions that a snapshot has counted."""
    told: dict[str, Any] = {"conversion_days": info.conversion_seconds / _DAY_SECONDS}
    return told | ({"conversions": info.conversions} if info.conversions else {})
