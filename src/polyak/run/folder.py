"""A run's folder: what lies where in it, and what is read from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyak.errors import UnavailableError, UsageError
from polyak.policies.policy import Policy
from polyak.run import metrics
from polyak.run.description import read_settings
from polyak.run.origin import additions_for, algorithm_of, environment_of, require_own
from polyak.settings.door import door
from polyak.settings.kinds import checked, require_environment
from polyak.types import Float

if TYPE_CHECKING:
    from polyak.environments.handed import Given
    from polyak.environments.history import Isolation
    from polyak.environments.make import Environment
    from polyak.policies.critic import Q
    from polyak.policies.evaluation import Evaluation
    from polyak.policies.player import Player
    from polyak.policies.recording import Recording
    from polyak.policies.recording.filming import FilmObserver

WRITTEN = (
    *("settings.json", metrics.NAME, "policy.safetensors", "best.safetensors", "report.html", "tracking.json"),
    "ending.json",
    *("train.log", "environment.log", "checkpoints", "tensorboard", "videos", "policies", "wandb", "mlflow", "mlruns"),
)
"""What polyak and those whom it calls write in a run's folder."""


@dataclass(frozen=True)
class Run:
    """A run on disk. Reading it needs no framework and runs none of its content.

    It is taken wherever the path of a run's folder is: `polyak.resume(run)`, `from_run=run`.
    """

    folder: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", checked("folder", self.folder, Path))

    def __fspath__(self) -> str:
        """Its folder: a run stands wherever the path of one does."""
        return str(self.folder)

    @property
    def settings_file(self) -> Path:
        """`settings.json`: all settings, seed, versions, machine."""
        return self.folder / "settings.json"

    @property
    def metrics_file(self) -> Path:
        """`metrics.jsonl`: one record a line, append-only."""
        return self.folder / metrics.NAME

    @property
    def policy_file(self) -> Path:
        """`policy.safetensors`: the latest policy."""
        return self.folder / "policy.safetensors"

    @property
    def best_policy_file(self) -> Path:
        """`best.safetensors`: the policy of the best evaluation."""
        return self.folder / "best.safetensors"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, from which the run goes on."""
        return self.folder / "checkpoints"

    @property
    def videos(self) -> Path:
        """The folder of recorded videos."""
        return self.folder / "videos"

    @property
    def report_file(self) -> Path:
        """`report.html`, once `polyak report` has written it."""
        return self.folder / "report.html"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What `settings.json` holds.

        Raises:
            UsageError: it is missing, broken, of a newer format, or a field holds what it cannot; the field is named.
        """
        return read_settings(self.settings_file)

    @property
    def metrics(self) -> list[metrics.Record]:
        """The records of `metrics.jsonl`, oldest first; a last line cut off by a crash is left out."""
        return metrics.read_metrics(self.metrics_file)

    @property
    def settings_if_whole(self) -> dict[str, Any] | None:
        """What `settings.json` holds, or None where it is missing or damaged: a checkpoint says it as well.

        Raises:
            UnavailableError: it cannot be read just now.
        """
        try:
            return self.settings
        except UnavailableError:
            raise
        except UsageError:
            return None

    def require_no_links(self) -> None:
        """Check that what is written in the folder, and read from it, lies there and nowhere else.

        Raises:
            UsageError: something is a link.
        """
        for path in (self.folder / name for name in WRITTEN):
            if path.is_symlink():
                raise UsageError(
                    f"{path} is a link: polyak neither writes nor reads through links in a run's folder; remove it, or "
                    "put in its place what it leads to"
                )

    @cached_property
    def policy(self) -> Policy:
        """The latest policy.

        Raises:
            UsageError: its file is missing, damaged, or that of another run.
        """
        return self._own(self.policy_file)

    @cached_property
    def best_policy(self) -> Policy:
        """The policy of the best evaluation; errors as for `policy`."""
        return self._own(self.best_policy_file)

    def _own(self, file: Path) -> Policy:
        self.require_no_links()
        policy = Policy.load(file)
        require_own(policy, self.settings, file)
        return policy

    def environment(self, given: "Given | None" = None) -> "Environment":
        """What the run was trained on, or what is `given` instead.

        Raises:
            UsageError: it was a callable, which no folder can hold, and none is given.
        """
        return environment_of(self.settings, given, self.folder)

    def isolation(self, environment: "Environment") -> "Isolation":
        """What keeps the episodes of an environment apart as the run kept them.

        Raises:
            UsageError: `settings.json` says what cannot be.
        """
        from polyak.environments.history import draws_of, isolation_of

        require_environment(environment)
        try:
            fresh = self.settings.get("fresh_environments", False) is True
            return isolation_of(environment, fresh, draws_of(self.settings))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{self.settings_file} is not the settings of a run: {error}") from error

    @door
    def q(self, observations: Any, actions: Any) -> Float:
        """Q(s, a): the discounted return that the critic of the newest checkpoint expects, in NumPy.

        Observations are taken as `policy.act` takes them, one or N, and actions in environment units, [*action shape]
        or [N, *action shape]; it gives [] or [N]. One observation may go with N actions, and the other way around.
        SAC's counts the entropy that is to come. An algorithm that is not polyak's own is imported.

        Raises:
            UsageError: there is no whole checkpoint; these are no observations or actions of the environment, not as
                many, or an action is out of bounds.
            NonFiniteError: an observation is not finite.
        """
        return self._q(observations, actions)

    @cached_property
    def _q(self) -> "Q":
        from polyak.policies.critic import q_of
        from polyak.run.learned import newest_learner

        self.require_no_links()
        algorithm = algorithm_of(self.settings["algorithm"], self.folder)
        return q_of(algorithm, *newest_learner(self.checkpoints, algorithm, self.settings))

    def placed(self) -> "Run":
        """The same by a path that leads there wherever an environment may go."""
        return Run(self.folder.absolute())

    def player(self, *, best: bool = False, environment: "Given | None" = None) -> "Player":
        """Its policy, the latest or the best, in what it was trained on or what is given instead, as the run had it.

        Raises:
            UsageError: the policy's file is missing, damaged or another's; or as `environment` and `isolation` say.
        """
        from polyak.policies.player import Player

        self.require_no_links()
        environment = self.environment(environment)
        added = additions_for(self.settings, environment, self.folder)
        return Player(
            self.best_policy if checked("best", best, bool) else self.policy,
            environment,
            max_episode_steps=self.settings["settings"]["max_episode_steps"],
            isolation=self.isolation(environment),
            environment_settings=added.settings,
            wrappers=added.wrappers,
            action_repeat=added.action_repeat,
            info_metrics=tuple(self.settings.get("info_metrics", ())),
            name=self.settings["environment"],
            videos=self.videos,
            called="best" if best else "policy",
        )

    @door
    def evaluate(
        self,
        episodes: int = 10,
        *,
        seed: int = 0,
        best: bool = False,
        deterministic: bool = True,
        environment: "Given | None" = None,
        info_metrics: Sequence[str] | None = None,
    ) -> "Evaluation":
        """Run fresh episodes with the policy, as `Player.evaluate` does.

        `environment` is needed where training got a callable. `info_metrics` are those of the run, unless others are
        asked for.
        """
        player = self.player(best=best, environment=environment)
        return player.evaluate(episodes, seed=seed, deterministic=deterministic, info_metrics=info_metrics)

    @door
    def record(
        self,
        episodes: int | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        best: bool = False,
        deterministic: bool = True,
        gif: bool = False,
        overlay: bool = False,
        output: str | Path | None = None,
        environment: "Given | None" = None,
    ) -> Path:
        """Record a video (mp4) or GIF of the policy, in `evaluate`'s episodes, and return its path: `Player.record`."""
        player = self.player(best=best, environment=environment)
        chosen: dict[str, Any] = {"gif": gif, "overlay": overlay, "output": output}
        return player.film(episodes, steps=steps, seed=seed, deterministic=deterministic, **chosen).path

    @door
    def film(
        self,
        episodes: int | None = None,
        *,
        steps: int | None = None,
        seed: int = 0,
        best: bool = False,
        deterministic: bool = True,
        gif: bool = False,
        overlay: bool = False,
        output: str | Path | None = None,
        environment: "Given | None" = None,
        observer: "FilmObserver | None" = None,
    ) -> "Recording":
        """`record`, watched by an observer; the video and what its episodes gave: `Player.film`."""
        player = self.player(best=best, environment=environment)
        chosen: dict[str, Any] = {"gif": gif, "overlay": overlay, "output": output, "observer": observer}
        return player.film(episodes, steps=steps, seed=seed, deterministic=deterministic, **chosen)

    @door
    def watch(
        self,
        episodes: int | None = None,
        *,
        seed: int = 0,
        best: bool = False,
        deterministic: bool = True,
        environment: "Given | None" = None,
    ) -> "Evaluation":
        """Play the episodes of `evaluate` in a window, at the environment's rate: `Player.watch`."""
        player = self.player(best=best, environment=environment)
        return player.watch(episodes, seed=seed, deterministic=deterministic)
