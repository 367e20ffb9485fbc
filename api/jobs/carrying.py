"""Which ID rows of a live ranker a retrain may go on with: not of who opted out, or was merged.

Takes digests and the rows of a new training, gives what is known of its ids; what may be carried
for all others, and when none may, is said in `ranking/carrying.py`.
"""

from api.jobs.steps import Workshop
from graphsvc import tail
from graphsvc.snapshot import open_snapshot
from ranking.carrying import Known, carried_rows
from ranking.examples import Examples


def carried(shop: Workshop, snapshot: str, ranker: str, examples: Examples) -> Known:
    """What the ranker knows of heads and of tails that may go on. Raises as `carried_rows` does.

    A row of somebody who opted out between the two snapshots was learned beside offsite edges; so
    may one have been of somebody into whom another was merged, who had opted out before.
    """
    former = shop.store.open("ranker", ranker, verify=False).parents["snapshot"]
    after, until = (open_snapshot(shop.store, one).watermark["seq"] for one in (former, snapshot))
    gone: dict[str, set[str]] = {}
    with shop.database.reading() as connection:
        for entity in tail.not_as_before(connection, after=after, until=until):
            gone.setdefault(entity.type, set()).add(entity.id)
    return carried_rows(shop.store, ranker, examples, without=gone)
