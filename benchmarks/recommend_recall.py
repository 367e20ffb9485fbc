"""What the retrieval stage of a recommendation finds, and what it loses: in this process.

Takes an answerer and a trio, gives shares by person; never builds anything. What is true is made
anew from vectors and the inventory: every ad is compared, and every ad is ranked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import nlargest
from typing import Any, NamedTuple

import numpy as np
import recommend_service as service
import recommend_world as world
from numpy.typing import NDArray
from recommend_world import Inventory
from scipy.special import stdtrit

from api.answers import Answerer
from api.filters import Filter
from api.live import Trio
from api.recommending import Cap, Recommended, Wish, recommend
from graphsvc.ids import EntityId
from kge.parts import directions
from kge.searchers import exact_places

#: Ads that are ranked together where all are ranked.
_BLOCK = 10_000
#: Scores that differ by less, as a share, are those of other orders of the same sums.
_ALIKE = 1e-5


class OverPeople(NamedTuple):
    """A mean over people with its 95 % interval."""

    value: float
    lo: float
    hi: float


def over_people(values: Sequence[float]) -> OverPeople:
    """The mean of at least two shares, with t_{n-1} standard errors around it, from 0 to 1."""
    mean = float(np.mean(values))
    error = float(np.std(values, ddof=1)) / len(values) ** 0.5
    reach = float(stdtrit(len(values) - 1, 0.975)) * error
    return OverPeople(mean, max(mean - reach, 0.0), min(mean + reach, 1.0))


@dataclass(frozen=True)
class Asking:
    """A service in this process, and the inventory that it knows."""

    inventory: Inventory
    answerer: Answerer
    trio: Trio

    def recommended(self, kind: str, who: int, *, retrieve: int, **more: Any) -> Recommended:
        """What the route answers."""
        asked = service.body(self.inventory, kind, who, retrieve=retrieve, **more)
        wish = Wish(
            head=EntityId(**asked["head"]),
            retrieve=retrieve,
            filter=Filter.model_validate(asked["filter"]) if "filter" in asked else None,
            seen=asked["seen"] == "in",
            relation=asked.get("relation"),
            cap=Cap(**asked["cap"]) if "cap" in asked else None,
        )
        return recommend(self.answerer, self.trio, wish)

    def nearest_found(self, kind: str, people: Sequence[int], *, retrieve: int) -> dict[str, Any]:
        """Of the nearest that may be shown, the share that is found; and whether rules are kept."""
        shares, told, obeyed = list[float](), list[float](), list[bool]()
        for who in people:
            made = self.recommended(kind, who, retrieve=retrieve)
            of, ids = made.found.of, [item.id for item in made.found.items]
            if of is None:
                raise SystemExit(f"nobody was found under the name {world.person(who)}")
            true = self._nearest(of.vector, kind, who, retrieve)
            shares.append(len(true.intersection(ids)) / len(true))
            told.append(made.found.recall)
            shown = [item.id for item in made.scores.items]
            obeyed.append(service.obeyed(self.inventory, kind, who, shown))
        return {
            "recall": over_people(shares)._asdict(),
            "told": float(np.mean(told)),
            "obeyed": float(np.mean(obeyed)),
            "people": len(people),
        }

    def best_found(
        self, people: Sequence[int], ways: Mapping[str, Mapping[str, Any]], *, k: int
    ) -> dict[str, dict[str, Any]]:
        """Of what stands first where every ad is ranked, the share that each way shows.

        One that scores as high as the last of these is as good. And the scores of what is shown as
        a share of the best ones: many score nearly alike. `ways`: by name, what is asked.
        """
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for who in people:
            best = self.ranked(who, k=k)
            total, least = sum(best), best[-1] * (1.0 - _ALIKE)
            for name, asked in ways.items():
                shown = self.recommended("plain", who, **asked).scores.items[:k]
                among = sum(item.score >= least for item in shown) / len(best)
                found[name].append((among, sum(item.score for item in shown) / total))
        return {
            name: {
                "recall": over_people([one[0] for one in pairs])._asdict(),
                "score": over_people([one[1] for one in pairs])._asdict(),
                "people": len(people),
            }
            for name, pairs in found.items()
        }

    def ranked(self, who: int, *, k: int) -> list[float]:
        """The k best scores of all ads, each as the service scores candidates, best first."""
        head = EntityId("user", world.person(who))
        best: list[float] = []
        for start in range(0, self.inventory.items, _BLOCK):
            stop = min(start + _BLOCK, self.inventory.items)
            ids = [world.ad(number) for number in range(start, stop)]
            scored = self.answerer.score(self.trio, head, ids).items[:k]
            best = nlargest(k, [*best, *(one.score for one in scored)])
        return best

    def _nearest(
        self, vector: NDArray[np.float32], kind: str, who: int, count: int
    ) -> frozenset[str]:
        """The nearest of all that may be shown, by comparing each."""
        may = service.allowed(self.inventory, kind, who)[self._numbers]
        places = exact_places(self._directions, directions(vector[None]), count, may)[0]
        return frozenset(world.ad(number) for number in self._numbers[places].tolist())

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """Which ad each of the bundle's rows of ads is."""
        kind = self.trio.bundle.types["ad"]
        ids = self.trio.bundle.ids[kind.start : kind.stop].tolist()
        return np.array([world.number_of(id_) for id_ in ids], np.int64)

    @cached_property
    def _directions(self) -> NDArray[np.float32]:
        kind = self.trio.bundle.types["ad"]
        return directions(self.trio.bundle.vectors[kind.start : kind.stop])
