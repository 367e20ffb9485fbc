"""The layouts of sealed rankers: which are read, and what those of before mean today.

Takes a manifest's payload and dials, and tensors by name, gives them in the words of now; never
opens a file. A layout that is not read is refused by name.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kge.bundle import Bundle
from ranking.calibration import Calibration, Platt, calibration_of
from ranking.config import (
    ARMS,
    AttentionConfig,
    CrossingConfig,
    FeatureConfig,
    HeadsConfig,
    IdTableConfig,
    RankerConfig,
    TrainingConfig,
)
from ranking.errors import FrameMismatch, RankerFormat
from ranking.examples import KgeMaps

#: Layout of the payload and files.
RANKER_FORMAT = 3
#: The same, of before ID rows could be in fewer bits.
_WHOLE_ROWS = 2
#: One head, no place of an exposure, no tokens of what tails lead to nor of other relations.
_FORMER = 1
#: Names of tensors in the former layout -> names now.
_RENAMED = {
    "crossing.": "experts.stacks.0.",
    "hidden.": "towers.0.hidden.",
    "last.": "towers.0.last.",
    "additive": "towers.0.additive",
}
_PARTS = {
    "features": FeatureConfig,
    "ids": IdTableConfig,
    "crossing": CrossingConfig,
    "attention": AttentionConfig,
    "heads": HeadsConfig,
    "training": TrainingConfig,
}


def check_format(digest: str, payload: Mapping[str, Any]) -> None:
    """Refuse a ranker of a layout, or with an arm, that is not known here: `RankerFormat`."""
    for name, known in (
        ("ranker_format", (_FORMER, _WHOLE_ROWS, RANKER_FORMAT)),
        ("arm", tuple(ARMS)),
    ):
        if payload.get(name) not in known:
            raise RankerFormat(
                f"ranker {digest} has {name} {payload.get(name)!r}, this version reads "
                f"{', '.join(map(str, known))}; train it again"
            )


def arm_of(payload: Mapping[str, Any]) -> str:
    """The arm by its present name: rows that attend began at zero in the former layout."""
    blank = payload["ranker_format"] == _FORMER and payload["arm"] == "attention"
    return "attention_blank" if blank else str(payload["arm"])


def config_of(payload: Mapping[str, Any], dials: Mapping[str, Any]) -> RankerConfig:
    """The dials of a manifest as the dataclass that they came from; what it lacks is as it was."""
    told: dict[str, Any] = {"heads": {}, **dials, "arm": arm_of(payload)}
    told["crossing"] = _crossing_dials(dials["crossing"])
    parts = {name: kind(**told[name]) for name, kind in _PARTS.items()}
    return RankerConfig(**{**told, **parts})


def _crossing_dials(told: Mapping[str, Any]) -> dict[str, Any]:
    """Dials of a crossing; rankers of before have switches for what is named by words now."""
    dials = dict(told)
    if "layer_norm" in dials:
        dials["norm"] = "after" if dials.pop("layer_norm") else "none"
    if isinstance(dials.get("mask"), bool):
        dials["mask"] = "instance" if dials["mask"] else "none"
    return dials


def weights_of(payload: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a ranker by their present names."""
    if payload["ranker_format"] != _FORMER:
        return dict(weights)
    found: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        old = next((old for old in _RENAMED if name.startswith(old)), "")
        found[_RENAMED[old] + name.removeprefix(old) if old else name] = tensor
    return found


def calibrations_of(payload: Mapping[str, Any]) -> dict[str, Calibration]:
    """Head -> how its logits become probabilities. Raises `RankerFormat`."""
    if payload["ranker_format"] == _FORMER:
        told = payload["calibration"]
        return {"ctr": Platt(told["slope"], told["offset"])}
    return {name: calibration_of(value) for name, value in payload["calibrations"].items()}


def others_of(payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The other relations from the head type that have a token."""
    return tuple(payload.get("others", ()))


def check_relations(digest: str, payload: Mapping[str, Any], bundle: Bundle, maps: KgeMaps) -> None:
    """Raise `FrameMismatch` for a bundle that lacks a relation which the ranker reads."""
    head, tail = (payload["spec"][side]["type"] for side in ("head", "tail"))
    told = (
        (f"relations from {head} to {tail}", payload["shape"]["relations"], maps.names),
        (f"other relations from {head}", len(others_of(payload)), maps.other_names),
    )
    for reads, number, found in told:
        if len(found) != number:
            raise FrameMismatch(
                f"ranker {digest} reads {number} {reads}, received bundle {bundle.digest} with "
                f"{', '.join(found) or 'none'} of them"
            )
