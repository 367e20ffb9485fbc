"""What an idea buys: TransRA's arms with dials of one's own, in the names of models.

Takes text such as `transra+dim=128`, gives an arm's name and checked dials; never trains. A name
says every dial that was set, in one way only, so that nothing else has the same cells.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, get_args

from kge.arms import SWITCHES
from kge.config import TransRAConfig
from kge.dials import Dials
from kge.errors import ConfigError, UnknownModel

#: TransRA as it comes, and its arms: which of its two anchor mechanisms is on.
ARMS = ("transra", *SWITCHES)
#: The clock ends a training, so epochs would say nothing.
_ELSEWHERE = {"seed": "--seeds", "epochs": "--minutes"}
_TYPES = {f.name: f.type for f in fields(TransRAConfig) if f.name not in _ELSEWHERE}
#: What may stand in the name of a file, and ends no dial.
_WORD = re.compile(r"[\w.-]+")


def parted(model: str) -> tuple[str, dict[str, Any]]:
    """A model's name without its dials, and these. Raises `UnknownModel` and `ConfigError`."""
    name, texts = _apart(model)
    return name, dials_of(texts)


def is_arm(model: str) -> bool:
    """Whether it is one of TransRA's arms, whatever dials are set."""
    return model.partition("+")[0] in ARMS


def with_dials(model: str, texts: Sequence[str]) -> str:
    """The one name of a model with further dials set, given as `name=value`.

    Rivals have none of these dials and stay what they are. Raises `UnknownModel` and `ConfigError`.
    """
    name, own = _apart(model)
    if name not in ARMS:
        return name
    dials = dials_of([*own, *texts])
    return "+".join([name, *(f"{dial}={_text(dials[dial])}" for dial in sorted(dials))])


def _apart(model: str) -> tuple[str, list[str]]:
    name, *texts = model.split("+")
    if texts and name not in ARMS:
        raise UnknownModel(
            f"a model whose dials are set should be one of {', '.join(ARMS)}, received {model!r}"
        )
    return name, texts


def dials_of(texts: Iterable[str]) -> dict[str, Any]:
    """Dials from `name=value`, each of its type. Raises `ConfigError`."""
    dials = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given:
            raise ConfigError(f"a dial should be given as name=value, received {text!r}")
        if name in _ELSEWHERE:
            raise ConfigError(
                f"dial {name} should be left to {_ELSEWHERE[name]}, received {text!r}"
            )
        if name not in _TYPES:
            raise ConfigError(f"dial should be one of {', '.join(_TYPES)}, received {name!r}")
        if name in dials:
            raise ConfigError(f"dial {name} should be given once, received {text!r} as well")
        dials[name] = _value(name, value)
    # Whether a value makes sense is the config's to say.
    Dials(**dials)
    return dials


def _value(name: str, text: str) -> Any:
    if known := get_args(_TYPES[name]):
        expected, read = f"one of {', '.join(known)}", {word: word for word in known}.__getitem__
    else:
        expected, read = _READERS[_TYPES[name]]
    try:
        return read(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"dial {name} should be {expected}, received {text!r}") from error


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise ValueError(text)
    return text


_READERS: Mapping[Any, Any] = {
    int: ("a whole number", int),
    float: ("a number", float),
    bool: ("true or false", {"true": True, "false": False}.__getitem__),
    str: ("letters, digits, '_', '.' or '-'", _word),
}


def _text(value: Any) -> str:
    """A value in its one spelling; without the `+` of an exponent, which would end it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0").replace("e+", "e")
    return str(value)
