"""What is compared: how a ranker's ID tables come about.

Takes names, gives arms; never trains one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from ranking.pretraining.config import FACET_NAMES
from ranking.pretraining.fields import MODES

#: A hashed table has a row for so many ids, and rows so many times longer.
HASHED = 8


@dataclass(frozen=True)
class Arm:
    """`ids`: none | own | hashed | facets; of facets which, how they are joined, and how read."""

    ids: str
    facets: tuple[str, ...] = ()
    combination: str = "concat"
    mode: str = "frozen"


def name_of(facets: tuple[str, ...], mode: str = "frozen", combination: str = "concat") -> str:
    """Such as `contrastive+kge/frozen`, or `summed(contrastive+kge)/frozen`."""
    joined = "+".join(facets)
    return f"{joined if combination == 'concat' else f'{combination}({joined})'}/{mode}"


def _sets() -> list[tuple[str, ...]]:
    """Each facet, each pair, all."""
    return [one for size in (1, 2, 3) for one in combinations(FACET_NAMES, size)]


def _arms() -> dict[str, Arm]:
    found = {"none": Arm("none"), "scratch": Arm("own"), "hashed": Arm("hashed")}
    for facets in _sets():
        for mode in MODES:
            found[name_of(facets, mode)] = Arm("facets", facets, mode=mode)
    for combination in ("summed", "sequential"):
        for mode in ("frozen", "tuned"):
            name = name_of(FACET_NAMES, mode, combination)
            found[name] = Arm("facets", FACET_NAMES, combination, mode)
    return found


ARMS: Mapping[str, Arm] = _arms()
ALL = name_of(FACET_NAMES)
#: Of the nulls, where what is claimed has to vanish.
OF_NULLS = ("none", "scratch", *(name_of((one,)) for one in FACET_NAMES), ALL)
#: Whose AUC is told by how often ids were seen, after the first epoch.
BY_FREQUENCY = ("none", "scratch", "hashed", *(name_of((one,)) for one in FACET_NAMES), ALL)
