"""Cursors of lists: opaque to callers, so that what is inside may change."""

import base64
import binascii

from api.errors import Invalid


def encode(position: str | None) -> str | None:
    """A position as a cursor; None stays None: there is no next page."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode(cursor: str | None) -> str | None:
    """The position inside a cursor; raises `Invalid` if this service did not make it."""
    if cursor is None:
        return None
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"cursor should be one that a list returned, received {cursor!r}") from error
