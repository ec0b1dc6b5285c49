"""A policy in the environment that it plays in: fresh episodes, measured or filmed."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from polyak.environments.additions import Additions, require_names
from polyak.environments.history import Isolation, isolation_of
from polyak.environments.make import Environment, make_environments
from polyak.policies.evaluation import Evaluation, Watched, evaluate, warn_of_averages
from polyak.policies.policy import Policy
from polyak.settings.door import door
from polyak.settings.kinds import AT_LEAST_1, Count, Seed, checked, require, require_environment
from polyak.settings.options import KINDS
from polyak.system.randomness import Streams
from polyak.system.signals import signals_marked

if TYPE_CHECKING:
    from polyak.policies.recording import Recording
    from polyak.policies.recording.filming import FilmObserver


@dataclass(frozen=True)
class Player:
    """A policy and an environment: `polyak.Player("policy.safetensors", "Pendulum-v1").evaluate(episodes=10)`.

    A run has its own (`Run.player`), which plays as the run did. This is for a policy without one.
    """

    policy: Policy | str | os.PathLike[str]
    """Or the path of its file."""
    environment: Environment
    """An id, `module:Id`, or a callable that makes one."""
    max_episode_steps: int | None = None
    """Time limit of an episode in steps; None keeps the environment's own."""
    isolation: Isolation | None = None
    """What keeps episodes apart; None is what the environment is known to need."""
    environment_settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Arguments of the environment's constructor, where it is an id."""
    wrappers: tuple[str, ...] = ()
    """`module:Class` of each wrapper around it, where it is an id: the innermost first, inside the time limit."""
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
        if not _is_policy(self.policy):
            kinds["policy"] = Path
        for name, kind in kinds.items():
            object.__setattr__(self, name, checked(name, getattr(self, name), kind))
        kept = self.isolation is None or _is_isolation(self.isolation)
        require("isolation", self.isolation, kept, "as Run.isolation gives it, or None")
        require_names(self.additions, self.environment)

    @cached_property
    def acting(self) -> Policy:
        """The policy, read where a file was named.

        Raises:
            UsageError: its file is missing, damaged, or no policy's.
        """
        return self.policy if isinstance(self.policy, Policy) else Policy.load(self.policy)

    @property
    def additions(self) -> Additions:
        """What an id is made with besides."""
        return Additions(self.environment_settings, self.wrappers)

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
        info_metrics: Sequence[str] | None = None,
        watched: Watched | None = None,
    ) -> Evaluation:
        """Run fresh episodes with the deterministic policy.

        `info_metrics` are the player's own, unless others are asked for; `watched` is called before each step, with
        what tells how far it is.

        Raises:
            UsageError: something asked for cannot be.
            TrainingError: the environment raised, or returned a number that is not finite.
        """
        require("watched", watched, watched is None or callable(watched), "a function, or None")
        episodes, seed = checked("episodes", episodes, Count), checked("seed", seed, Seed)
        asked = self.info_metrics if info_metrics is None else info_metrics
        names, policy = checked("info_metrics", asked, KINDS["info_metrics"]), self.acting
        with signals_marked():
            environments = make_environments(
                self.environment,
                1,
                Streams(seed).evaluation,
                max_episode_steps=self.max_episode_steps,
                isolation=self.kept_apart,
                additions=self.additions,
            )
            try:
                warn_of_averages(environments)
                return evaluate(policy, environments, episodes, seed=seed, info_metrics=names, watched=watched)
            finally:
                environments.close()

    @door
    def record(self, episodes: int = 1, *, seed: int = 0, output: str | os.PathLike[str] | None = None) -> Path:
        """Record a video (mp4) of the deterministic policy, in the episodes of `evaluate`, and return its path."""
        return self.film(episodes, seed=seed, output=output).path

    @door
    def film(
        self,
        episodes: int = 1,
        *,
        seed: int = 0,
        output: str | os.PathLike[str] | None = None,
        observer: "FilmObserver | None" = None,
    ) -> "Recording":
        """`record`, watched by an observer; the video and what its episodes gave."""
        from polyak.policies.recording import record

        episodes, seed = checked("episodes", episodes, Count), checked("seed", seed, Seed)
        path: Path | None = checked("output", output, Path | None)
        return record(
            self.acting,
            self.environment,
            (path or self.videos / f"{self.called}-seed{seed}.mp4").absolute(),
            episodes,
            seed=seed,
            max_episode_steps=self.max_episode_steps,
            isolation=self.kept_apart,
            additions=self.additions,
            name=self.name or (self.environment if isinstance(self.environment, str) else "the environment"),
            observer=observer,
        )


def _is_policy(given: object) -> bool:
    return isinstance(given, Policy)


def _is_isolation(given: object) -> bool:
    return isinstance(given, Isolation)
