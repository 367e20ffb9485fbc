"""A child of `graphsvc up`: one verb of the command line, that ends when its parent does.

Takes the verb, and a pipe on stdin that only the parent can write to. Nobody ever writes: the
pipe ends with the parent, even one that is killed, and that is the sign.
"""

import os
import signal
import threading
from time import sleep

_GRACE_SECONDS = 15.0


def main() -> None:
    """Run the command line under the leash."""
    from api.cli import main as run_verb

    threading.Thread(target=_end_with_parent, daemon=True).start()
    run_verb()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    sleep(_GRACE_SECONDS)
    os._exit(1)  # it did not listen


if __name__ == "__main__":
    main()
