"""What is long: trainings as generators, and the progress of a step that nobody looks at."""

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


def silent(_done: int, _total: int, _note: str) -> None:
    """Take a step's progress and tell nobody."""
