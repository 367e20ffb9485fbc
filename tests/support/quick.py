"""Dials of rankers that learn a small world in a moment."""

from ranking.config import FeatureConfig, IdTableConfig, RankerConfig, TrainingConfig

#: A small world is learned quickly: larger steps, no dropout, tiny tables.
QUICK = RankerConfig(
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4, buckets=8),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=12, batch=64, learning_rate=1e-2),
)
#: Of those whose ID rows Adagrad moves.
BY_ADAGRAD = RankerConfig(
    arm="none",
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4, min_rows=2, buckets=8, optimizer="adagrad", backend="torch"),
    features=FeatureConfig(min_rows=2),
    training=TrainingConfig(epochs=2, batch=64),
)
#: Of those that are trained among clients, in rounds: what is rare has no row of its own.
OF_CLIENTS = RankerConfig(
    arm="none",
    dropout=0.0,
    id_dropout=0.0,
    ids=IdTableConfig(dim=4, buckets=8, min_rows=3),
    features=FeatureConfig(min_rows=2),
)
