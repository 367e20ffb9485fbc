"""The dials of TransRA that somebody set; all others are None, for `kge/policy.py` to derive.

Takes values, checks them; never derives any.
"""

from dataclasses import fields, make_dataclass
from typing import TYPE_CHECKING, Any

from kge.config import TransRAConfig


def set_ones(dials: "Dials") -> dict[str, Any]:
    """The dials that somebody set, by name."""
    values = {field.name: getattr(dials, field.name) for field in fields(TransRAConfig)}
    return {name: value for name, value in values.items() if value is not None}


def _check(dials: "Dials") -> None:
    """Raise `ConfigError` for a value that makes no sense in any graph."""
    given = set_ones(dials)
    # Whether some fit together is for the policy to see, which may derive one from the other.
    if "dim" in given:
        given.setdefault("relation_dim", given["dim"])
    if "relation_dim" in given:
        given.setdefault("dim", given["relation_dim"])
    if given.get("inverse") == "transpose":
        given.setdefault("tails", "still")
    TransRAConfig(**given)


if TYPE_CHECKING:
    # The same names and types, but for None: nothing but `set_ones` reads a field.
    Dials = TransRAConfig
else:
    Dials = make_dataclass(
        "Dials",
        [(field.name, field.type | None, None) for field in fields(TransRAConfig)],
        frozen=True,
        kw_only=True,
        namespace={"__post_init__": _check, "__doc__": "TransRA's dials as far as they are set."},
    )
    Dials.__module__ = __name__
