"""A client that thinks for a while before it asks again finds its connection open."""

import http.client
import time
from pathlib import Path

from running import service

SECONDS = 7  # longer than the 5 of the library that serves


def test_a_connection_outlives_a_pause(tmp_path: Path) -> None:
    with service(tmp_path) as running:
        running.start("serve")
        running.wait_ready()
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        connection.connect()
        opened = connection.sock
        for pause in (0, SECONDS):
            time.sleep(pause)
            connection.request("GET", "/health/live")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
            assert connection.sock is opened, "it was opened anew"
        connection.close()
