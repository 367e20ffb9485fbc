"""What can go wrong in this room. Each class's docstring is its default message."""


class KgeError(Exception):
    """The embedding could not do what was asked."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigError(KgeError):
    """A dial has a value that makes no sense; correct the named field."""


class TooFewTriples(KgeError):
    """The snapshot holds no edge to learn from; post events that make edges first."""


class UnknownType(KgeError):
    """The bundle holds no entity of this type; ask for one of the types it names."""


class UnknownRelation(KgeError):
    """The bundle has no such relation; ask for one of the relations it names."""


class UnknownFacet(KgeError):
    """The bundle has no such facet; ask for one of the facets it names."""


class ShapeMismatch(KgeError):
    """Arrays that belong together have different lengths; pass columns of one table."""


class CheckpointMismatch(KgeError):
    """The checkpoint belongs to another training; delete it to begin anew."""


class BrokenScores(KgeError):
    """The model scores NaN, so nothing can be ranked; train again with a smaller learning rate."""


class BadTriples(KgeError):
    """A file of triples could not be read; correct the line that is named."""


class UnknownModel(KgeError):
    """There is no model of this name; choose one of those that are named."""


class MemoryBudget(KgeError):
    """The training does not fit into the memory it was given; give it more, or a smaller dim."""
