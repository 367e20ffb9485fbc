"""Progress of jobs: the last word on each step."""

from graphsvc import progress
from graphsvc.db import Database


def test_the_last_word_on_each_step_in_the_order_of_steps(database: Database) -> None:
    for step, position, done in [("train", 1, 3), ("export", 0, 9), ("train", 1, 4)]:
        with database.transaction() as connection:
            progress.write(
                connection,
                "job",
                step,
                position=position,
                state="running",
                done=done,
                total=10,
                note="epoch 4",
                detail={"loss": 0.5},
                now=100 + done,
            )
    with database.reading() as connection:
        assert progress.read(connection, "another") == []
        assert progress.read(connection, "job\0") == progress.read(connection, "\ud800") == []
        assert progress.read(connection, "job") == [
            progress.StepProgress("export", 0, "running", 9, 10, "epoch 4", {"loss": 0.5}, 109),
            progress.StepProgress("train", 1, "running", 4, 10, "epoch 4", {"loss": 0.5}, 104),
        ]
