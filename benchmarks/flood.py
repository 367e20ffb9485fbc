"""One caller who asks more than a server can do, from a process of its own.

    .venv/bin/python benchmarks/flood.py < asked.json

Takes where to, a body and a rate, gives how often each status came; never asks again at once where
it was refused, but when it is time.
"""

import json
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from typing import Any

#: What a server says that has too much to do.
_BUSY = 503


def flood(asked: dict[str, Any]) -> dict[str, int]:
    """Status -> how often, of connections that ask together so often, for some seconds."""
    told: Counter[str] = Counter()
    lock, ends = threading.Lock(), time.monotonic() + asked["seconds"]
    each = asked["connections"] / asked["rate"]

    def work(number: int) -> None:
        own: Counter[str] = Counter()
        connection = HTTPConnection("127.0.0.1", asked["port"], timeout=60)
        due = time.monotonic() + each * number / asked["connections"]
        while (now := time.monotonic()) < ends:
            if now < due:
                time.sleep(min(due - now, ends - now))
            # Who is late asks at once, and does not make up for what was missed.
            due = max(due + each, time.monotonic())
            connection.request("POST", asked["path"], asked["body"], asked["headers"])
            answer = connection.getresponse()
            answer.read()
            bare = answer.status == _BUSY and answer.getheader("Retry-After") is None
            own[f"{answer.status} without Retry-After" if bare else str(answer.status)] += 1
        with lock:
            told.update(own)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(asked["connections"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return dict(told)


if __name__ == "__main__":
    print(json.dumps(flood(json.load(sys.stdin))))
