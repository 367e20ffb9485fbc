"""The dials of federated training. Takes values, gives checked dataclasses; reads nothing else."""

import math
from dataclasses import dataclass, field

from ranking.checks import check, one_of, positive, whole

#: Every method by its name; `ranking/fedda/methods.py` has them.
METHODS = (
    "fedda",
    "fedavg",
    "fedavgm",
    "fedadam",
    "fedyogi",
    "fedadagrad",
    "scaffold",
    "fedcm",
    "mimelite",
    "fedprox",
)
#: Which part of the flow runs on clients; `ranking/fedda/flow.py` says what each does.
READINGS = ("none", "restart", "carried", "frozen", "drive")
OPTIMIZERS = ("sgdm", "adam", "adagrad")
#: When the end phase begins: its rounds before the last one, or earlier, where nothing is gained.
ENDS = ("count", "plateau")


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodConfig:
    """What moves the weights. A dial that a method does not have says nothing to it."""

    #: One of METHODS.
    method: str = "fedda"
    #: One of READINGS; of fedda.
    reading: str = "carried"
    #: One of OPTIMIZERS; of fedda.
    optimizer: str = "sgdm"
    #: h, the rate of a local step.
    rate: float = 0.1
    #: alpha, what a whole round counts; of fedadam, fedyogi, fedadagrad the server's own rate.
    server_rate: float = 1.0
    #: b, what is left of a mean of gradients after a step.
    momentum: float = 0.9
    #: b2, what is left of a mean of squares after a round; of Adam and Yogi.
    memory: float = 0.99
    #: tau, added to the root of squares, which begin at tau^2: the least that moves are divided by.
    floor: float = 1e-3
    #: mu, how strongly fedprox holds clients near where they began.
    pull: float = 0.1

    def __post_init__(self) -> None:
        one_of("method", self.method, METHODS)
        one_of("reading", self.reading, READINGS)
        one_of("optimizer", self.optimizer, OPTIMIZERS)
        for name in ("rate", "server_rate", "floor"):
            positive(name, getattr(self, name))
        for name in ("momentum", "memory"):
            value = getattr(self, name)
            check(0 <= value < 1, name, "at least 0 and below 1", value)
        check(0 <= self.pull < math.inf, "pull", "at least 0 and finite", self.pull)

    @property
    def adaptive(self) -> bool:
        """Whether clients' steps are scaled, coordinate by coordinate."""
        return self.method == "fedda" and self.optimizer != "sgdm"

    @property
    def own_momentum(self) -> float:
        """The b of a centralized step of the same optimizer: the reading `none` has none."""
        without = self.method != "fedda" or self.reading == "none"
        return 0.0 if without else self.momentum


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundsConfig:
    """The loop."""

    #: Most rounds, those of the end phase among them.
    rounds: int = 100
    #: T, local steps of a client in a round.
    steps: int = 5
    #: Rounds at the start in which clients take one step: until the server has seen a gradient,
    #: Adam and AdaGrad do not know how long a step is.
    warm_rounds: int = 0
    #: Clients drawn for each round; 0: all.
    clients: int = 0
    #: Rounds at the end in which clients send one gradient of all their rows, and none steps alone.
    end_rounds: int = 0
    #: count: the end phase is the last rounds. plateau: it may begin, and so end, earlier.
    end: str = "count"
    #: The end phase's rate as a multiple of the local one.
    end_rate: float = 1.0
    #: Rounds without a gain after which a plateau has been reached.
    patience: int = 10
    #: What the watched loss has to fall by to be a gain, as a share of itself.
    least_gain: float = 1e-3
    #: Seed of who is drawn.
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rounds", "steps", "patience"):
            whole(name, getattr(self, name), 1)
        for name in ("warm_rounds", "clients", "end_rounds", "seed"):
            whole(name, getattr(self, name), 0)
        check(self.end_rounds <= self.rounds, "end_rounds", "at most rounds", self.end_rounds)
        check(self.end in ENDS, "end", " or ".join(ENDS), self.end)
        positive("end_rate", self.end_rate)
        check(0 <= self.least_gain < 1, "least_gain", "at least 0 and below 1", self.least_gain)


@dataclass(frozen=True, kw_only=True, slots=True)
class FederatedConfig:
    """A ranker that is trained where its rows are."""

    #: Whose a row is: head or tail (each entity a client), or head.NAME, tail.NAME (each value of
    #: that category a client: an advertiser, a segment of users).
    clients: str = "head"
    #: Rows of a local step.
    batch: int = 32
    #: Rate of a client's own AdaGrad over the rows of ID tables that no other client names.
    own_rate: float = 0.05
    #: Rounds between two looks at VALID; the look with the least loss is kept.
    look_every: int = 5
    method: MethodConfig = field(default_factory=MethodConfig)
    rounds: RoundsConfig = field(default_factory=RoundsConfig)

    def __post_init__(self) -> None:
        side, dot, name = self.clients.partition(".")
        known = side in ("head", "tail") and bool(name) == bool(dot)
        check(known, "clients", "head, tail, head.NAME or tail.NAME", self.clients)
        whole("batch", self.batch, 1)
        whole("look_every", self.look_every, 1)
        positive("own_rate", self.own_rate)


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretSumConfig:
    """Sums that hide what is added: SecAgg+ (Bell et al., 2020), as Flower has it."""

    #: No client may have more rows; weights are told in shares of it.
    most_rows: int
    #: Of a client with most_rows, numbers of an answer beyond it are cut off, and each is rounded
    #: to 2^-22 of twice that; of one with fewer rows both are as many times larger.
    bound: float = 8.0
    #: Of a round's clients, the share with which each has a secret; work grows with its square.
    shares: float = 1.0
    #: Of these, the share that may not die once secrets are dealt out.
    threshold: float = 0.6
    #: Of all clients, the share that is drawn for a round, and the least number of them.
    fraction: float = 1.0
    least: int = 3

    def __post_init__(self) -> None:
        whole("most_rows", self.most_rows, 1)
        positive("bound", self.bound)
        for name in ("shares", "threshold", "fraction"):
            value = getattr(self, name)
            check(0 < value <= 1, name, "above 0 and at most 1", value)
        whole("least", self.least, 3)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseConfig:
    """Noise that makes each answer (epsilon, delta) locally differentially private.

    An answer, S and a together, is shortened to a length of `bound`, and gets normal noise of
    deviation 2 bound sqrt(2 ln(1.25 / delta)) / epsilon (Dwork and Roth, 2014, appendix A), which
    is proven for epsilon up to 1. It holds for one round: R of them are (R epsilon, R delta). How
    many rows a client has, and how many steps it took, is told without noise. Flower draws it by
    NumPy's global generator, whose seed nobody may know.
    """

    bound: float
    epsilon: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        positive("bound", self.bound)
        check(0 < self.epsilon <= 1, "epsilon", "above 0 and at most 1", self.epsilon)
        check(0 < self.delta <= 0.01, "delta", "above 0 and at most .01", self.delta)
