"""What a run goes on with otherwise than before: asked for, checked by what is declared, and told."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_type_hints

from polyak.errors import UsageError
from polyak.run.description import stamped
from polyak.run.plan import Plan
from polyak.settings.kinds import changeable, checked
from polyak.settings.names import hint
from polyak.settings.options import CHANGEABLE, KINDS, as_described
from polyak.settings.shared import Settings

PACKAGES = {"jax": ("jax", "jaxlib"), "torch": ("torch",), "tensorflow": ("tensorflow",)}
"""What each framework's numbers depend on."""


@dataclass(frozen=True)
class Changes:
    """What is to be other from now on."""

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the run, each checked."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of its algorithm, as they were asked for; None leaves one as it was."""
    steps: int | None = None
    """Of the whole run."""

    def __bool__(self) -> bool:
        return bool(self.options or self._asked)

    @property
    def _asked(self) -> dict[str, Any]:
        return {name: value for name, value in {**self.settings, "steps": self.steps}.items() if value is not None}

    def made_in(self, plan: Plan, folder: Path) -> Plan:
        """The plan of a run in a folder with these changes in it.

        Raises:
            UsageError: one of them is none that a run takes once it has begun, or is beyond its limit.
        """
        kind = type(plan.config)
        for name in self.settings:
            if name not in changeable(kind):
                raise UsageError(_refused(name, plan, folder))
        kinds = get_type_hints(kind, include_extras=True)
        new = {name: checked(name, value, kinds[name]) for name, value in self._asked.items()}
        if plan.config.offline and "steps" in new:  # which are updates there
            new["offline_updates"] = new.pop("steps")
        return dataclasses.replace(plan, config=dataclasses.replace(plan.config, **new), **self.options)


def kept(name: str, kind: type[Settings]) -> bool:
    """Whether a name is that of a setting or an option that a run keeps as long as it lives."""
    may = {*changeable(kind), *CHANGEABLE, "steps"}
    return name in {*(each.name for each in dataclasses.fields(kind)), *KINDS} - may


def what_may(kind: type[Settings]) -> str:
    """What a run may go on with otherwise, in words."""
    return f"what may be another on resume is {', '.join(['steps', *changeable(kind), *CHANGEABLE])}"


def begins_anew(folder: Path) -> str:
    """What else there is, in words."""
    return f"`polyak train ... --from {folder}` begins a new run with its learner"


def _refused(name: str, plan: Plan, folder: Path) -> str:
    """What is said of a name that cannot be changed: what can be, and what else would help."""
    kind = type(plan.config)
    if kept(name, kind):
        value = _shown(vars(plan.config).get(name, vars(plan).get(name)))
        return f"a run keeps the {name} that it began with, {value}: {what_may(kind)}; {begins_anew(folder)}"
    return f"resume has no {name!r}: " + (
        hint(name, ("steps", *changeable(kind), *CHANGEABLE), "resume") or what_may(kind)
    )


@dataclass(frozen=True)
class Told:
    """How a run goes on otherwise than before, in words; each says what was and what is."""

    settings: dict[str, tuple[Any, Any]]
    """What each setting that is another was before, and what it is now."""
    other: list[str]
    """Settings after which the run is another."""
    rounding: list[str]
    """What may change the last digits alone."""
    exact: list[str]
    """What changes no number."""
    horizon: list[str]
    """Step sizes, and a beta, that go toward another end."""

    @property
    def all(self) -> list[str]:
        """As `settings.json` keeps it."""
        return [*self.other, *self.rounding, *self.exact, *self.horizon]

    def notes(self, steps: int) -> dict[str, str]:
        """What those who watch should know, of a run of so many steps."""
        inexact = [f"{', '.join(self.rounding)}: what follows may differ in the last digits"] if self.rounding else []
        if self.other:
            inexact.append(
                f"{', '.join(self.other)}: from here on it is not the run that either would have been from the start"
            )
        if self.horizon:
            inexact.append(f"{'; '.join(self.horizon)}, which a run of {steps:,} from the start would not have")
        return {
            **({"not exact": "; ".join(inexact)} if inexact else {}),
            **({"changed": ", ".join(self.exact)} if self.exact else {}),
        }


def told(changes: Changes, before: Plan, plan: Plan, description: Mapping[str, Any]) -> Told:
    """What is other in a plan than in the one before, and on this machine than in the run's description."""
    settings = {
        name: (was, now)
        for name in changes.settings
        if (was := getattr(before.config, name)) != (now := getattr(plan.config, name))
    }
    options = {
        name: f"{name} {was} is {now} now"
        for name in changes.options
        if (was := as_described(name, getattr(before, name))) != (now := as_described(name, getattr(plan, name)))
    }
    notes = changeable(type(plan.config))
    words = {name: f"{name} {_shown(was)} is {_shown(now)} now" for name, (was, now) in settings.items()}
    return Told(
        settings,
        other=[words[name] for name in words if not notes[name].exact],
        rounding=[*_elsewhere(description), *(options[name] for name in options if not CHANGEABLE[name].exact)],
        exact=[
            *(words[name] for name in words if notes[name].exact),
            *(options[name] for name in options if CHANGEABLE[name].exact),
        ],
        horizon=_another_horizon(before, plan),
    )


def _shown(value: Any) -> str:
    return " ".join(map(str, cast(tuple[Any, ...], value))) or "none" if isinstance(value, tuple) else str(value)


def _elsewhere(description: Mapping[str, Any]) -> list[str]:
    """Other versions, and that a run was one of several."""
    then, now = description["versions"], stamped({})["versions"]
    others = {name for backend, names in PACKAGES.items() if backend != description["backend"] for name in names}
    found = [
        f"{name} {then.get(name, 'none')} is {now.get(name, 'none')} now"
        for name in sorted((then.keys() | now.keys()) - others)
        if now.get(name) != then.get(name)
    ]
    if "together" in description:
        found.append(f"together with {int(description['together']) - 1} other runs is alone now")
    return found


def _another_horizon(before: Plan, plan: Plan) -> list[str]:
    """What comes to another end from now on, where the run has another length: step sizes that fall, and beta."""
    then, config = before.config.length, plan.config
    if config.length == then:
        return []
    schedule = config.learning_rate_schedule
    moved = [] if schedule == "constant" else [f"learning_rate_schedule {schedule} ends"]
    if config.prioritized == "proportional":
        moved.append("priority_correction comes to 1")
    return [f"{what} at {config.length:,} {config.unit} now, {then:,} before" for what in moved]
