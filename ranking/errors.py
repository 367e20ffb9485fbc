"""What can go wrong in this room. Each class's docstring is its default message."""


class RankingError(Exception):
    """The ranker could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigError(RankingError):
    """A dial has a value outside its range; correct the named field."""


class NotEnoughRows(RankingError):
    """Too few labelled rows to train or to judge a ranker; post more events first."""


class TrainingDiverged(RankingError):
    """The ranker's weights or logits are no numbers any more; lower the rate of its training."""


class StatesMismatch(RankingError):
    """Heads and tails do not fit each other or the ranker; send one head, or as many as tails."""


class FrameMismatch(RankingError):
    """The ranker was trained in another frame than this bundle's; train a ranker on the bundle."""


class HeadMissing(RankingError):
    """The ranker does not answer this; ask for an order that it has, or train one that does."""


class RankerFormat(RankingError):
    """The ranker has a format that this version does not read; train it again."""


class BudgetUnreachable(RankingError):
    """The crossing family has no size that costs so much; choose other dials or another budget."""


class TableMemory(RankingError):
    """The ID tables do not fit their memory; raise memory_mib, or evict with when_full."""


class BackendMissing(RankingError):
    """A backend of the ID tables is not here, or cannot do it; choose backend auto."""


class TableMismatch(RankingError):
    """Rows and ids do not fit each other; give each id once, and a row for each of them."""


class NotCarried(RankingError):
    """Rows of the former ranker cannot be carried into this one; retrain without carry."""


class FacetUnavailable(RankingError):
    """There is nothing to pretrain this facet on; leave it out, or post events that make edges."""


class TableFormat(RankingError):
    """The table has a format that this version does not read; pretrain it again."""


class CohortMismatch(RankingError):
    """The clients of a round do not fit each other or the model; give each rows and steps."""


class RoundsLost(RankingError):
    """Federated rounds came to no result, since clients died in them."""


class GroupTooSmall(RankingError):
    """A group has too few rows for a classifier of its own; join it with another, or leave it."""


class NotExportable(RankingError):
    """A ranker's network cannot be exported, or would answer something else."""


class ForwardUnusable(RankingError):
    """An exported network is not there, was changed, or cannot be computed here."""
