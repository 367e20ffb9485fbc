"""Fields of a form, made of a request's JSON schema: one for each option, with what it is for.

Takes schemas, gives elements of the page and what was filled in; never knows what a field means.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nicegui import ui

#: What a property's schema is looked up in, by name: `$defs`.
Kinds = Mapping[str, Mapping[str, Any]]
_REF = "#/$defs/"


@dataclass(frozen=True, slots=True)
class Nested:
    """Options within an option: given where somebody says so, or has changed one."""

    fields: Mapping[str, Any]
    plain: Mapping[str, Any]
    given: ui.switch

    @property
    def value(self) -> dict[str, Any] | None:
        changed = filled(self.fields, self.plain)
        return changed if changed or self.given.value else None


def field(name: str, about: Mapping[str, Any], value: Any, kinds: Kinds) -> Any:
    """What a person fills in for one option. `value`: what it is where nobody does."""
    within = _within(about, kinds)
    if within is not None:
        return _nested(name, about, within, kinds)
    choices = about.get("enum") or about.get("items", {}).get("enum")
    if isinstance(value, bool):
        made: Any = ui.switch(name, value=value)
    elif choices:
        made = ui.select(choices, label=name, value=value, multiple=isinstance(value, list))
    else:
        called = name if _is_plain(about) else f"{name}, as JSON"
        made = ui.input(called, value="" if value is None else json.dumps(value))
    made.classes("w-full")
    ui.label(about.get("description", "")).classes("quiet text-xs -mt-3")
    return made


def filled(fields: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """What somebody has changed, by name. `plain`: what fields are where nobody has."""
    given = {name: _value(one, plain[name]) for name, one in fields.items()}
    return {name: value for name, value in given.items() if value != plain[name]}


def _nested(name: str, about: Mapping[str, Any], within: Mapping[str, Any], kinds: Kinds) -> Nested:
    properties = within["properties"]
    plain = {one: told.get("default") for one, told in properties.items()}
    with ui.expansion(name, caption=about.get("description", "")).classes("w-full"):
        given = ui.switch(f"give {name}, what is left out of it by default")
        fields = {one: field(one, told, plain[one], kinds) for one, told in properties.items()}
    return Nested(fields, plain, given)


def _within(about: Mapping[str, Any], kinds: Kinds) -> Mapping[str, Any] | None:
    """The schema of an option that has options itself."""
    for one in about.get("anyOf", (about,)):
        if "$ref" in one:
            return kinds[str(one["$ref"]).removeprefix(_REF)]
    return None


def _is_plain(about: Mapping[str, Any]) -> bool:
    """Whether a field is a number or a text, which everybody writes alike."""
    kinds = {one.get("type") for one in about.get("anyOf", (about,))}
    return kinds <= {"string", "integer", "number", "null"}


def _value(made: Any, plain: Any) -> Any:
    """What was filled in; of text that is no JSON, the text."""
    if not isinstance(made, ui.input):
        return made.value
    text = (made.value or "").strip()
    if not text:
        return plain
    try:
        return json.loads(text)
    except ValueError:
        return text
