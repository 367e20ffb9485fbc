"""Which parameters a route's query may hold: those that the route names, and no other.

Takes a request whose route is found, lets it pass or answers 422 naming the parameter; never looks
at values, which the route's own types do. A typing error that is taken in silence looks like an
answer to what was asked.
"""

from collections.abc import Iterator

from fastapi import Depends, Request
from fastapi.dependencies.models import Dependant

from api.errors import Invalid
from graphsvc.hints import meant

_MOST_TOLD = 20
_LONGEST_ECHO = 80


async def known_only(request: Request) -> None:
    """Raise `Invalid` for a query parameter that the route does not name."""
    if not request.query_params:
        return
    known = list(dict.fromkeys(_named(request.scope["route"].dependant)))
    one_of = f"one of {', '.join(known)}" if known else "absent: this route takes no parameters"
    errors = [
        {
            "field": f"query.{_short(name)}",
            "value": _short(value),
            "expected": f"{one_of}{meant(name, known)}",
        }
        for name, value in request.query_params.multi_items()
        if name not in known
    ]
    if errors:
        first = errors[0]
        raise Invalid(
            f"{first['field']} is not a parameter of this route; it should be {first['expected']}",
            errors=errors[:_MOST_TOLD],
        )


def _named(dependant: Dependant) -> Iterator[str]:
    for field in dependant.query_params:
        yield field.alias
    for needed in dependant.dependencies:
        yield from _named(needed)


def _short(text: str) -> str:
    """A text that fits into an answer; half pairs have no bytes."""
    return text[:_LONGEST_ECHO].encode(errors="replace").decode()


KnownQuery = Depends(known_only)
