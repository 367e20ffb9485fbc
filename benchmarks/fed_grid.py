"""Flower's grid without a network: the apps of all clients in this process, asked in turn.

Takes apps by their node's number, gives a grid that Flower's strategies and workflows run on, mods
and all; never measures anything.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from itertools import count
from types import SimpleNamespace
from typing import Any

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity


class LocalGrid(Grid):  # type: ignore[misc]
    """A node's context lives as long as the grid, as a SuperNode's does.

    What raises `NotImplementedError` Flower's interface has, and its strategies and workflows do
    not ask for.
    """

    def __init__(self, apps: Mapping[int, ClientApp]) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1
        self._apps = apps
        self._contexts = {node: _context(node) for node in apps}
        self._names = count(1)

    @property
    def run(self) -> Any:
        return SimpleNamespace(run_id=1)

    def set_run(self, run: Any) -> None:
        raise NotImplementedError

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self._apps)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        del timeout  # nobody is away
        return [self._reply(message) for message in messages]

    def _reply(self, message: Message) -> Message:
        message = deepcopy(message)  # as if it had travelled: mods take things out of it
        node = message.metadata.dst_node_id
        # What a SuperLink does; mods go by the number of their node.
        message.metadata.__dict__["_message_id"] = str(next(self._names))
        reply = self._apps[node](message, self._contexts[node])
        if reply.has_error():
            raise SystemExit(f"client {node} answered with an error: {reply.error}")
        return reply


def server_context() -> Context:
    """That of a server's app."""
    return _context(0)


def _context(node: int) -> Context:
    return Context(1, node, {"partition-id": node - 1}, RecordDict(), {})
