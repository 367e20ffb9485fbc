"""What a certificate of an erasure says, for people who are not engineers.

Takes the erasure and its sealed certificate, gives lines of text; never checks anything.
"""

from collections import Counter
from collections.abc import Mapping

from api.printing import moment
from graphsvc.artifact import Artifact
from graphsvc.erasures import Erasure

#: What is looked at once there is a certificate.
_MORE = "it looks at the certificate, the list of erasures and kept answers as well"


def words(one: Erasure, sealed: Artifact) -> list[str]:
    """Who, when, what went, how it was checked, and how to check it again."""
    told = sealed.payload
    kinds = Counter(made["kind"] for made in told["artifacts"])
    failed = sum(not check["ok"] for check in told["checks"])
    digest_words = "a keyed digest; `graphsvc erasures TYPE ID` finds the erasures of an id"
    return [
        f"certificate {sealed.digest} of erasure {one.number}",
        f"person: {one.type}, subject {one.subject} ({digest_words})",
        f"asked for: {moment(one.asked_at)} UTC; certified: {moment(told['certified_at'])} UTC",
        f"rows removed: {_counted(one.removed or {})}",
        f"models and data that lost them: {_counted(kinds)}",
        f"checks: {len(told['checks'])}, of which {failed} failed",
        f"look again: graphsvc erase --verify {one.number} ({_MORE})",
        "what remains: what is there, where, and until when",
    ]


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items()) or "none"
