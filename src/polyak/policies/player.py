"""A policy in the environment that it plays in: fresh episodes, measured, filmed or watched."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import numpy as np

from polyak.environments.additions import Additions, require_names
from polyak.environments.handed import Given, callable_of
from polyak.environments.history import Isolation, isolation_of
from polyak.environments.make import Environment, make_environments
from polyak.errors import UsageError
from polyak.policies.evaluation import Evaluation, Watched, evaluate, warn_of_averages
from polyak.policies.policy import Policy
from polyak.settings.door import door
from polyak.settings.kinds import AT_LEAST_1, Count, Seed, checked, require, require_environment
from polyak.settings.options import KINDS
from polyak.settings.shared import REPEATED
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked

if TYPE_CHECKING:
    from collections.abc import Callable

    from polyak.environments.stepping import Environments
    from polyak.policies.recording import Recording
    from polyak.policies.recording.filming import FilmObserver
    from polyak.policies.watching import Viewer
    from polyak.types import Spec, Transitions


@dataclass(frozen=True)
class Player:
    """A policy and an environment: `polyak.Player("policy.safetensors", "Pendulum-v1").evaluate(episodes=10)`.

    A run has its own (`Run.player`), which plays as the run did. This is for a policy without one.
    """

    policy: Policy | str | os.PathLike[str]
    """Or the path of its file."""
    environment: Given
    """An id, `module:Id`, a callable that makes one, or one that is there already, which is left open."""
    max_episode_steps: int | None = None
    """Time limit of an episode in the environment's own steps; None keeps its own."""
    isolation: Isolation | None = None
    """What keeps episodes apart; None is what the environment is known to need."""
    environment_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of the environment's constructor, where it is an id."""
    wrappers: tuple[str, ...] = ()
    """`module:Class` of each wrapper around it, where it is an id: the innermost first, inside the time limit."""
    action_repeat: int | None = None
    """The environment's own steps that each action is taken for; None is what the policy says of its training."""
    info_metrics: tuple[str, ...] = ()
    """Numbers in the infos of the episodes' last steps that an evaluation has, by name."""
    name: str = ""
    """Of the environment, for the message of an error."""
    videos: Path = field(default=Path())
    """The folder in which a video lies unless another place is asked for."""
    called: str = "policy"
    """What a video's name begins with."""

    def __post_init__(self) -> None:
        require_environment(self.environment)
        kinds: dict[str, Any] = {name: KINDS[name] for name in ("environment_settings", "wrappers", "info_metrics")}
        kinds |= {"max_episode_steps": Annotated[int | None, AT_LEAST_1], "name": str, "videos": Path, "called": str}
        kinds["action_repeat"] = Annotated[int | None, REPEATED]
        if not _is_policy(self.policy):
            kinds["policy"] = Path
        for name, kind in kinds.items():
            object.__setattr__(self, name, checked(name, getattr(self, name), kind))
        kept = self.isolation is None or _is_isolation(self.isolation)
        require("isolation", self.isolation, kept, "as Run.isolation gives it, or None")
        object.__setattr__(self, "environment", callable_of(self.environment))
        require_names(Additions(self.environment_settings, self.wrappers), self.environment)

    @cached_property
    def acting(self) -> Policy:
        """The policy, read where a file was named.

        Raises:
            UsageError: its file is missing, damaged, or no policy's.
        """
        return self.policy if isinstance(self.policy, Policy) else Policy.load(self.policy)

    @property
    def additions(self) -> Additions:
        """What the environment has besides.

        Raises:
            UsageError: how long an action lasts is the policy's to say, and says nonsense, or cannot be read.
        """
        said = self.acting.made_for.get("action_repeat", 1) if self.action_repeat is None else self.action_repeat
        repeat = checked("the policy's action_repeat", said, Annotated[int, REPEATED])
        return Additions(self.environment_settings, self.wrappers, repeat, parts=self.acting.spec.keys)

    @property
    def kept_apart(self) -> Isolation:
        """What keeps the episodes apart."""
        return isolation_of(self.environment, fresh=False, draws=()) if self.isolation is None else self.isolation

    @door
    def evaluate(
        self,
        episodes: int = 10,
        *,
        seed: int = 0,
        deterministic: bool = True,
        info_metrics: Sequence[str] | None = None,
        watched: Watched | None = None,
    ) -> Evaluation:
        """Run fresh episodes with the deterministic policy, or with actions that it draws (`Policy.act` says how).

        The same seed gives the same episodes. `info_metrics` are the player's own, unless others are asked for;
        `watched` is called before each step, with what tells how far it is.

        Raises:
            UsageError: something asked for cannot be, such as actions drawn of a policy that has nothing to draw.
            TrainingError: the environment raised, or returned a number that is not finite.
        """
        return self._played(episodes, seed, deterministic, info_metrics, watched, lambda environments: environments)

    @door
    def play(
        self, episodes: int, *, seed: int = 0, deterministic: bool = True, watched: Watched | None = None
    ) -> "tuple[Evaluation, list[Transitions], Spec]":
        """The episodes of `evaluate`, with the transitions of each, and what the environment shows and takes.

        Raises:
            UsageError, TrainingError: as there; or the environment is a whole vector.
        """
        from polyak.policies.playing import Noting

        noting: list[Noting] = []

        def noted(environments: "Environments") -> "Environments":
            noting.append(Noting(environments))
            return noting[0].itself

        result = self._played(episodes, seed, deterministic, None, watched, noted)
        return result, noting[0].noted()[:episodes], noting[0].itself.spec

    def _played(
        self,
        episodes: int,
        seed: int,
        deterministic: bool,
        info_metrics: Sequence[str] | None,
        watched: Watched | None,
        around: "Callable[[Environments], Environments]",
    ) -> Evaluation:
        require("watched", watched, watched is None or callable(watched), "a function, or None")
        episodes, seed = checked("episodes", episodes, Count), checked("seed", seed, Seed)
        asked = self.info_metrics if info_metrics is None else info_metrics
        names, policy = checked("info_metrics", asked, KINDS["info_metrics"]), self.acting
        generator = self._drawing_from(seed, deterministic)
        with signals_marked():
            environments = self.environments(seed)
            try:
                warn_of_averages(environments)
                chosen: dict[str, Any] = {"seed": seed, "generator": generator, "watched": watched}
                return evaluate(policy, around(environments), episodes, info_metrics=names, **chosen)
            finally:
                environments.close()

    @door
    def record(
        self,
        episodes: int | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        deterministic: bool = True,
        gif: bool = False,
        overlay: bool = False,
        output: str | os.PathLike[str] | None = None,
    ) -> Path:
        """Record a video (mp4, or a GIF) of the policy, in the episodes of `evaluate`, and return its path.

        One episode, or `episodes`; or with `steps`, as many as there are in so many steps, the last one cut off. The
        folder of `output` must be there; it ends in .mp4, or in .gif, which is the same as `gif`. `overlay` draws the
        return so far, the step and the seconds in the corner. A GIF has at most 480 pixels a side, and 50 frames a
        second.
        """
        chosen: dict[str, Any] = {"gif": gif, "overlay": overlay, "output": output}
        return self.film(episodes, steps=steps, seed=seed, deterministic=deterministic, **chosen).path

    @door
    def film(
        self,
        episodes: int | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        deterministic: bool = True,
        gif: bool = False,
        overlay: bool = False,
        output: str | os.PathLike[str] | None = None,
        label: str = "",
        observer: "FilmObserver | None" = None,
    ) -> "Recording":
        """`record`, watched by an observer, with a `label` in the corner; the video and what its episodes gave."""
        from polyak.policies.recording import record
        from polyak.policies.recording.paths import path_asked

        steps, seed = checked("steps", steps, Count | None), checked("seed", seed, Seed)
        return record(
            self.acting,
            cast(Environment, self.environment),
            path_asked(output, self.videos / f"{self.called}-seed{seed}", gif=gif),
            checked("episodes", episodes, Count | None) or steps or 1,  # an episode has one step at least
            steps=steps,
            seed=seed,
            generator=self._drawing_from(seed, deterministic),
            name=self._name,
            label=checked("label", label, str),
            overlay=checked("overlay", overlay, bool),
            observer=observer,
            **self._kept,
        )

    @door
    def watch(
        self,
        episodes: int | None = None,
        *,
        seed: int = 0,
        deterministic: bool = True,
        viewer: "Viewer | None" = None,
    ) -> Evaluation:
        """Play the episodes of `evaluate` in a window, at the environment's own rate; without `episodes`, until Ctrl-C.

        Closing the window ends it too, in the middle of an episode, which counts as cut off.

        Args:
            episodes: how many.
            seed: from which the episodes' seeds are drawn.
            deterministic: whether the policy takes its best action, or draws one.
            viewer: told of each step and of each episode's end.

        Raises:
            UsageError: there is no screen, or the environment opens no window; a video needs neither (`record`).
            TrainingError: the environment raised, or returned a number that is not finite.
        """
        from polyak.policies.watching import watch

        told = all(callable(getattr(viewer, each, None)) for each in ("stepped", "episode_ended"))
        require("viewer", viewer, viewer is None or told, "what has stepped and episode_ended, or None")
        episodes, seed = checked("episodes", episodes, Count | None), checked("seed", seed, Seed)
        generator = self._drawing_from(seed, deterministic)
        with signals_marked():
            kept: dict[str, Any] = {**self._kept, "name": self._name, "viewer": viewer}
            return watch(
                self.acting, cast(Environment, self.environment), episodes, seed=seed, generator=generator, **kept
            )

    def environments(self, seed: int = 0) -> "Environments":
        """What the episodes of `evaluate` are in; whoever calls this closes it. Errors as there."""
        return make_environments(self.environment, 1, Streams(seed).evaluation, **self._kept)

    def require_screen(self) -> None:
        """Check that `watch` has something to open a window on; errors as there."""
        from polyak.policies.watching import require_screen

        require_screen()

    @property
    def _kept(self) -> dict[str, Any]:
        """How the environment is made."""
        return {
            "max_episode_steps": self.max_episode_steps,
            "isolation": self.kept_apart,
            "additions": self.additions,
        }

    @property
    def _name(self) -> str:
        return self.name or (self.environment if isinstance(self.environment, str) else "the environment")

    def _drawing_from(self, seed: int, deterministic: bool) -> np.random.Generator | None:
        """What actions are drawn from, if they are."""
        if checked("deterministic", deterministic, bool):
            return None
        if not self.acting.draws:
            raise UsageError(
                "deterministic is False (--stochastic), but this policy has nothing to draw: it is a deterministic one "
                "without exploration noise"
            )
        return Streams(seed).evaluation_actions()


def _is_policy(given: object) -> bool:
    return isinstance(given, Policy)


def _is_isolation(given: object) -> bool:
    return isinstance(given, Isolation)
