"""Another version beside the live one: which there are, and how far its loading is.

Takes a desk, gives a field to choose one in and the trio that was chosen; never compares anything.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nicegui import ui

from api.deps import Services
from api.further import IDLE_SECONDS, Choice, Version, choices
from api.live import Trio
from api.ui.desk import Desk
from api.ui.words import age, short

_LIST = ("GET", "/v1/artifacts")
_MOST, _SECONDS = 20, 0.3
_KEPT = f"kept for {IDLE_SECONDS / 60:.0f} minutes, until a promotion or another choice"


class Picker:
    """The field, and what was chosen in it; versions are called by a part of them."""

    def __init__(self, found: Sequence[Choice], *, part: Literal["ranker", "bundle"]) -> None:
        self._part = part
        self._found = {f"{one.version.ranker}/{one.version.bundle}": one for one in found}
        labels = {name: _label(one, found, part) for name, one in self._found.items()}
        self.field = ui.select(labels, label="beside it, the version", clearable=True)
        self.field.classes("w-full sm:w-80")
        if not labels:
            self.field.disable()
            self.field.props('hint="there is no other that can be opened"')
        self._told: ui.label | None = None

    def tell_here(self) -> None:
        """Let the place where this is called tell how far the loading is."""
        self._told = ui.label().props("role=status").classes("quiet")
        self._told.bind_visibility_from(self._told, "text", bool)

    @property
    def version(self) -> Version | None:
        chosen = self._found.get(self.field.value or "")
        return chosen.version if chosen else None

    @property
    def name(self) -> str:
        """How what was chosen is called beside what is live."""
        return "" if self.version is None else short(getattr(self.version, self._part))

    async def opened(self, desk: Desk, route: tuple[str, str], version: Version) -> Trio:
        """The trio of a version; while it is loaded, what is being opened is told.

        Raises what the desk raises, and `Further.trio`.
        """
        further = desk.services.further

        name = self.name

        def tell() -> None:
            self._say(f"loading {name}: {further.doing or 'it is there'}")

        tell()
        timer = ui.timer(_SECONDS, tell)
        try:
            trio = await desk.see(route, lambda services: services.further.trio(version))
        except BaseException:
            self._say("")
            raise
        finally:
            timer.cancel()
        self._say(f"{name} is loaded beside what is live; {_KEPT}")
        return trio

    def _say(self, text: str) -> None:
        if self._told is not None:
            self._told.set_text(text)


async def picker(desk: Desk) -> Picker:
    """A field with the versions that can be looked at, where it is drawn."""
    return Picker(await desk.see(_LIST, _choices), part="ranker")


async def picker_of_bundles(desk: Desk) -> Picker:
    """The same of those with another bundle than the live one, each once: the others find alike."""
    found = await desk.see(_LIST, _choices)
    live = desk.services.live.trio().bundle.digest
    first: dict[str, Choice] = {}
    for one in found:
        first.setdefault(one.version.bundle, one)
    return Picker([one for bundle, one in first.items() if bundle != live], part="bundle")


def _choices(services: Services) -> list[Choice]:
    return choices(services.database, services.store, most=_MOST)


def _label(one: Choice, among: Sequence[Choice], part: str) -> str:
    newest = next((other for other in among if other.by_job), None)
    said = [short(getattr(one.version, part))]
    twice = [other for other in among if other.version.ranker == one.version.ranker]
    if len(twice) > 1 and part == "ranker":
        said.append(f"with bundle {short(one.version.bundle)}")
    if one is newest:
        said.append("the last job's candidate")
    if one.decision:
        said.append(f"gate: {one.decision}")
    return ", ".join([*said, age(one.at)])


def moved(places: Mapping[Any, int], others: Mapping[Any, int], key: Any) -> str:
    """How many places further up or down `others` has something."""
    if key not in others:
        return "not there"
    change = places[key] - others[key]
    return "same" if not change else f"{'▲' if change > 0 else '▼'} {abs(change)}"
