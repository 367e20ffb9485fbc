"""An erasure in a random life: asked for, perhaps with a worker that dies on the way, and done."""

import time
from urllib.parse import quote

from model import JOB_SECONDS, Life
from running import eventually
from world import USERS


def erase(alive: Life) -> None:
    """Somebody is erased, with all ids that are theirs; whoever was erased before stays so."""
    person = f"user/{alive.chance.choice(USERS)}"
    asked = alive.ask("DELETE", f"/v1/entities/user/{quote(person[5:])}", well=(202,))
    told = alive.ask("GET", f"/v1/erasures/{asked['erasure']}")
    alive.note("erase", person=person, erasure=told)
    if asked["job"] is None:
        assert told["state"] == "done"
        return
    if alive.chance.random() < 0.5:
        time.sleep(alive.chance.uniform(0.0, 1.5))
        alive.die("worker")
        alive.summary.kills -= 1  # which kind is next goes by those of the life itself
        alive.start("worker")
    alive.oracle.erase(person, told["asked_at"])

    def done() -> bool:
        job = alive.ask("GET", f"/v1/jobs/{asked['job']}")
        assert job["state"] not in ("failed", "cancelled"), job
        return bool(job["state"] == "done")

    eventually(f"{person} is erased", done, seconds=JOB_SECONDS)
    result = alive.ask("GET", f"/v1/jobs/{asked['job']}")["result"]
    certificate = alive.ask("GET", f"/v1/artifacts/{result['certificate']}")["payload"]
    assert [check for check in certificate["checks"] if not check["ok"]] == []
    alive.wait_generation(result["generation"] or 0)
    alive.trios.clear()  # what they named has successors
    alive.check(entities=3)
