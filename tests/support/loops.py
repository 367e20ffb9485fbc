"""Trainings as generators: what they yield on their way, and what they return."""

from collections.abc import Generator
from typing import TypeVar

Yielded = TypeVar("Yielded")
Returned = TypeVar("Returned")


def finish(loop: Generator[Yielded, None, Returned]) -> tuple[list[Yielded], Returned]:
    """Everything that a training yields, and what it returns at its end."""
    trace = []
    while True:
        try:
            trace.append(next(loop))
        except StopIteration as done:
            return trace, done.value
