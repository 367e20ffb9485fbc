"""Several processes share a port, and each gets some of the connections."""

import pickle
import socket
from contextlib import ExitStack

from api.listening import OwnListener


def test_who_it_is_passed_on_to_listens_by_itself() -> None:
    with ExitStack() as opened:
        held = opened.enter_context(OwnListener("127.0.0.1", 0))
        port = held.getsockname()[1]
        first, second = (opened.enter_context(pickle.loads(pickle.dumps(held))) for _ in range(2))
        assert {one.getsockname()[1] for one in (first, second)} == {port}
        for one in (first, second):
            one.listen(100)
        clients = [
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
            for _ in range(64)
        ]
        assert len({client.getsockname() for client in clients}) == 64
        # Each goes to one of the two as a coin falls: less than 8 of 64 for one is once in 10^10.
        counts = []
        for one in (first, second):
            one.setblocking(False)
            count = 0
            while True:
                try:
                    opened.enter_context(one.accept()[0])
                except BlockingIOError:
                    break
                count += 1
            counts.append(count)
        assert sum(counts) == 64
        assert min(counts) >= 8
