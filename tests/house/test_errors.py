"""Errors are sentences: one base class per room, and a docstring that says what to do."""

import inspect
from types import ModuleType

import pytest

import api.errors
import graphsvc.errors
import kge.errors
import ranking.errors
from api.errors import STATUS, ApiError
from graphsvc.errors import GraphError
from kge.errors import KgeError
from ranking.errors import RankingError

ROOMS: list[tuple[ModuleType, type[Exception]]] = [
    (graphsvc.errors, GraphError),
    (kge.errors, KgeError),
    (ranking.errors, RankingError),
    (api.errors, ApiError),
]


def errors_of(module: ModuleType) -> list[type[Exception]]:
    return [
        value
        for value in vars(module).values()
        if inspect.isclass(value)
        and issubclass(value, Exception)
        and value.__module__ == module.__name__
    ]


@pytest.mark.parametrize(("module", "base"), ROOMS, ids=lambda value: value.__name__)
def test_one_base_and_each_a_sentence(module: ModuleType, base: type[Exception]) -> None:
    found = errors_of(module)
    assert base in found
    for error in found:
        assert issubclass(error, base), error.__name__
        sentence = inspect.getdoc(error) or ""
        assert sentence.endswith("."), error.__name__
        assert str(error()) == sentence, "the docstring is the default message"


def test_every_rooms_error_has_a_status() -> None:
    for module, base in ROOMS:
        if base is ApiError:
            continue  # these carry their own
        for error in errors_of(module):
            assert any(issubclass(error, kind) for kind, *_ in STATUS), error.__name__
