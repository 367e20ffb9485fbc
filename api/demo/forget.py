"""A person of the demo's data is erased, and every byte of the data folder is searched for them.

Takes a running service, gives what the certificate says and where their id stood; the one person
whose id stands in no other text is renamed before the data is posted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from api.demo.client import Client, ServiceFailed
from api.demo.searching import places

#: The last one by id, and the last one under the new name: no row of anybody else moves.
WHO, RENAMED = "99", "forget-me@example.org"
_TYPE = "user"
_LATE = {"event_name": "click", "event_id": "late", "action_source": "onsite"}


def renamed(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The same events, with one person under a name that can be searched for."""
    return [
        {**event, "actor": {"type": _TYPE, "id": RENAMED}}
        if (event["actor"]["type"], event["actor"]["id"]) == (_TYPE, WHO)
        else event
        for event in events
    ]


def measure(
    client: Client,
    folder: Path,
    late: Mapping[str, Any],
    *,
    follow: Callable[[str], Mapping[str, Any]],
    verify: Callable[[int], Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """Erase them, look for them, and post something about them that comes too late."""
    held = list(places(folder, RENAMED))
    asked = client.erase(_TYPE, RENAMED)
    job = follow(asked["job"])
    certificate = client.report(job["result"]["certificate"])
    [verdict] = client.post_events([{**late, **_LATE}])["verdicts"]
    checks = verify(asked["erasure"])
    return {
        "erasure": asked["erasure"],
        "certificate": job["result"]["certificate"],
        "seconds": job["updated_at"] - job["created_at"],
        "removed": certificate["people"][0]["removed"],
        "subject": certificate["people"][0]["subject"],
        "successors": [one["kind"] for one in certificate["artifacts"]],
        "remains": certificate["remains"],
        "checks": [dict(one) for one in checks],
        "files_before": len(held),
        "files_after": len(list(places(folder, RENAMED))),
        "late": verdict["code"],
    }


def lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What people read of it."""
    removed = ", ".join(f"{table} {n}" for table, n in told["removed"].items())
    kinds = {kind: told["successors"].count(kind) for kind in dict.fromkeys(told["successors"])}
    yield f"a person is erased, {told['seconds']} s: {removed}"
    yield f"successors: {', '.join(f'{kind} {n}' for kind, n in kinds.items())}"
    yield (
        f"files with their id: {told['files_before']} before, {told['files_after']} after; "
        f"an event that names them is answered: {told['late']}"
    )
    failed = [check["check"] for check in told["checks"] if not check["ok"]]
    said = f"{len(failed)} failed: {', '.join(failed)}" if failed else "all are well"
    yield (
        f"certificate {told['certificate'][:8]} verified: {len(told['checks'])} checks, {said}; "
        f"`GRAPHSVC_DATA_DIR=.demo/data .venv/bin/graphsvc erase --certificate {told['erasure']}` "
        f"shows it, `--verify {told['erasure']}` checks it again (docs/erasure.md)"
    )
    for one in told["remains"]:
        yield f"  remains: {one['what']} ({one['where']}): {one['until']}"


def require(told: Mapping[str, Any]) -> None:
    """Raise `ServiceFailed` where something is left, or where nothing was there to be found."""
    if not told["files_before"]:
        raise ServiceFailed(f"nobody was found before the erasure, so it shows nothing: {told}")
    if told["files_after"] or told["late"] != "erased" or not all(c["ok"] for c in told["checks"]):
        raise ServiceFailed(f"somebody was erased, and this is left: {told}")
