"""What every backend of the ID tables does.

Takes row numbers, gives those rows as of now, and moves them by their gradients in the next step;
never knows an id. A contract suite asks the same of all of them.
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor


@runtime_checkable
class Mover(Protocol):
    """Who moves the rows of one table, as a batch names them."""

    def look_up(self, rows: Int64[Tensor, "*any"]) -> Float[Tensor, "*any E"]:
        """Rows as of now; what becomes of the result moves them in the next `step`."""
        ...

    def forget(self) -> None:
        """What was looked up since the last step moves nothing."""
        ...

    def step(self) -> None:
        """Move the rows that were looked up since the last step, each by its summed gradient."""
        ...

    def settle(self) -> None:
        """From now on, until the next step, the table's `weight` holds every row as of now."""
        ...

    def states(self) -> dict[str, Tensor]:
        """What is remembered of rows beside their numbers: name -> [N, ...], in order of the rows.

        Of a table that has settled.
        """
        ...

    def resume(self, states: dict[str, Tensor]) -> None:
        """Go on as one that had these `states`, whose rows may have moved."""
        ...
