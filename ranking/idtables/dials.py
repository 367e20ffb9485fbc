"""The dials of the ID tables. Takes values, gives a checked dataclass; never reads anything."""

import math
from dataclasses import dataclass

from ranking.checks import check, one_of, positive_int, whole

#: What holds and moves the rows; `ranking/idtables/backends.py` has them by these names.
BACKENDS = ("auto", "torch", "fbgemm", "torchrec")
OPTIMIZERS = ("adamw", "adagrad")
PRECISIONS = ("float32", "bfloat16")
#: What becomes of ids when no dimension and precision fits the memory.
WHEN_FULL = ("refuse", "evict")
#: What a ranker that answers holds its rows in: as they were trained, or in fewer bits.
AS_TRAINED = "trained"
SERVED = (AS_TRAINED, "int8", "int4")


@dataclass(frozen=True, kw_only=True, slots=True)
class IdTableConfig:
    """The ID tables of heads and tails."""

    #: Numbers per row, the most of them where memory is bounded.
    dim: int = 32
    #: The least that a row may be narrowed to so that the tables fit; halved from `dim` on.
    least_dim: int = 8
    #: TRAIN rows an id needs for a row of its own; rarer ids share hashed rows.
    min_rows: int = 5
    #: Days since its last TRAIN row after which an id loses its own row; 0: never.
    max_age_days: float = 0.0
    #: Most rows that belong to one id alone; the most frequent ids get them.
    max_exclusive: int = 1 << 20
    #: Hashed rows for all other ids; more means fewer collisions.
    buckets: int = 1024
    #: Deviation of the numbers that rows begin with where they begin at the KGE.
    kge_scale: float = 1.0
    #: MiB that ID tables may take in training, with what moves them; 0: no bound.
    memory_mib: int = 0
    #: Where nothing else fits. refuse: with the numbers. evict: the rarest ids lose their own row.
    when_full: str = "refuse"
    #: float32, or bfloat16: half the bytes, rounded up or down by chance. Of adagrad; where memory
    #: is bounded, the finest one that is tried.
    precision: str = "float32"
    #: adamw: as all other weights, three numbers in memory per number of a row. adagrad: by row,
    #: one number of state per row.
    optimizer: str = "adamw"
    #: Step of adagrad, which falls as a row is seen more often; adamw has `training.table_share`.
    adagrad_rate: float = 0.0003
    #: auto: fbgemm where it is installed and can do what the other dials say, else torch.
    #: torchrec: rows are spread over the processes of a group.
    backend: str = "auto"
    #: What a ranker that is sealed has its rows in. trained: as in training. int8, int4: in so many
    #: bits a number, with a scale and a bias for each row; it is judged by those.
    served: str = AS_TRAINED

    def __post_init__(self) -> None:
        for name in ("dim", "least_dim", "min_rows", "max_exclusive", "buckets"):
            positive_int(name, getattr(self, name))
        for name in ("kge_scale", "adagrad_rate"):
            value = getattr(self, name)
            check(value > 0, name, "above 0", value)
        check(0 <= self.max_age_days < math.inf, "max_age_days", "at least 0", self.max_age_days)
        whole("memory_mib", self.memory_mib, 0)
        one_of("when_full", self.when_full, WHEN_FULL)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        one_of("precision", self.precision, PRECISIONS)
        one_of("backend", self.backend, BACKENDS)
        one_of("served", self.served, SERVED)
        if self.optimizer == "adamw":
            check(self.precision == "float32", "precision", "float32 with adamw", self.precision)
            known = self.backend in ("auto", "torch")
            check(known, "backend", "auto or torch with adamw", self.backend)
        elif self.backend in ("fbgemm", "torchrec"):
            should = f"float32 with {self.backend}"
            check(self.precision == "float32", "precision", should, self.precision)
