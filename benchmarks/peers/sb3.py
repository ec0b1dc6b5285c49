"""Stable-Baselines3, as its documentation has it: a model with "MlpPolicy", `learn`; callbacks evaluate and stop.

Its `train_freq` counts steps of all environments at once, so that a burst is `train_freq` times as many steps as there
are environments, and `gradient_steps` as many updates. `options`: `costs` measures evaluation and checkpoint; `model`
are arguments of the model in place of those here, `noise` the exploration noise; `curve` evaluates every `look` steps,
and keeps in the folder that it names what is needed to go on. `arguments` are all that the model is given, so that the
rest are the library's defaults, and `fresh` how many episodes from which seed are played once the goal is reached.
"""

import importlib
import json
import platform
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from job import BATCH, DISCOUNT, EXPLORATION_NOISE, HIDDEN, REPLAY, TAU, Job, serve
from stable_baselines3.common.callbacks import BaseCallback, EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise

MODELS = {"sac": "SAC", "td3": "TD3", "ddpg": "DDPG", "tqc": "TQC", "crossq": "CrossQ", "droq": "SAC"}
"""The class of each algorithm: in `stable_baselines3` or else in `sb3_contrib`; SBX has them all."""
DROQ = {"dropout_rate": 0.01, "layer_norm": True}
"""What makes SBX's SAC DroQ, besides its delay, as its documentation has it."""
APART = 1_000_000
"""Between the seed of training and that of the evaluations' episodes."""


def make_model(job: Job, library: Any, **own: Any) -> Any:
    """The model of `library`: stable_baselines3, or sbx, which has the same interface."""
    if "arguments" in job.options:
        given = {name: scheduled(value) for name, value in job.options["arguments"].items()}
        return kind_of(job, library)("MlpPolicy", job.make(), seed=job.seed, device="cpu", **given)
    environments: Any = job.make() if job.envs == 1 else make_vec_env(job.make, n_envs=job.envs)
    if job.algorithm in ("td3", "ddpg"):  # actions are normalized to [-1, 1]
        size = environments.action_space.shape[0]
        noise = job.options.get("noise", EXPLORATION_NOISE)
        own["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, noise))
    arguments = {
        "learning_rate": job.learning_rate,
        "buffer_size": REPLAY,
        "learning_starts": job.start_steps - 1,  # it begins after the step that exceeds this
        "batch_size": BATCH,
        "tau": TAU,
        "gamma": DISCOUNT,
        "train_freq": job.collect,
        "gradient_steps": job.burst * job.updates,
        "policy_kwargs": {"net_arch": list(HIDDEN)},
        **own,
        **job.options.get("model", {}),
    }
    if job.algorithm == "droq":
        arguments |= {"policy_delay": job.updates, "policy_kwargs": {"net_arch": list(HIDDEN), **DROQ}}
    if job.algorithm == "crossq":  # it has no targets that would move
        del arguments["tau"]
    return kind_of(job, library)("MlpPolicy", environments, seed=job.seed, device="cpu", **arguments)


def kind_of(job: Job, library: Any) -> Any:
    """The class of the job's algorithm."""
    name = MODELS[job.algorithm]
    return getattr(library if hasattr(library, name) else importlib.import_module("sb3_contrib"), name)


def scheduled(value: Any) -> Any:
    """`lin_X`, as rl-baselines3-zoo writes it, as what the library takes: X, falling with what remains of the steps."""
    if not (isinstance(value, str) and value.startswith("lin_")):
        return value
    first = float(value.removeprefix("lin_"))
    return lambda remaining: remaining * first


def train(job: Job, library: Any, **own: Any) -> None:
    """Train until the job is done or the process is ended."""
    model = make_model(job, library, **own)
    if job.options.get("curve"):
        learn_on(job, model, Path(job.options["curve"]))
        return
    if "fresh" in job.options:
        learn_until(job, model, *job.options["fresh"])
        return
    if job.goal is None:
        model.learn(total_timesteps=job.limit)
        if job.options.get("costs"):
            measure_costs(job, model)
        return
    evaluation = EvalCallback(
        Monitor(job.make()),
        callback_on_new_best=StopTrainingOnRewardThreshold(job.goal, verbose=0),
        eval_freq=job.look,
        n_eval_episodes=job.episodes,
        verbose=0,
    )
    model.learn(total_timesteps=job.limit, callback=evaluation)
    job.reached(model.num_timesteps, evaluation.last_mean_reward)


def learn_on(job: Job, model: Any, folder: Path) -> None:
    """Train from the start, or from what `Curve` kept: weights, optimizers and replay; episode and noise begin anew."""
    points = list[Any]()
    for kept in sorted(folder.glob("[0-9]*"), key=lambda path: int(path.name))[-1:]:
        model = type(model).load(kept / "model", env=model.get_env(), device="cpu")
        model.load_replay_buffer(kept / "replay.pkl")
        points = json.loads((kept / "curve.json").read_text())
    left = job.limit - model.num_timesteps
    model.learn(total_timesteps=left, callback=Curve(job, folder, points), reset_num_timesteps=False)


def learn_until(job: Job, model: Any, episodes: int, seed: int) -> None:
    """Train until an evaluation reaches the goal, and say what fresh episodes then have; nothing is kept."""
    evaluations = Curve(job)
    model.learn(total_timesteps=job.limit, callback=evaluations)
    if evaluations.reached:
        mean, std = evaluate_policy(model, make_vec_env(job.make, seed=seed), n_eval_episodes=episodes)
        job.say("fresh", float(mean), float(std))


PACKAGES = ("stable_baselines3", "sb3_contrib", "sbx-rl", "torch", "jax", "gymnasium", "numpy", "mujoco", "box2d")


class Curve(BaseCallback):
    """Says the versions, then at every `look` steps which mean return the policy has without noise; earlier ones again.

    Training ends when the job's goal is reached. The library calls back before the updates that belong to a step: the
    policy is one step's updates behind. What is needed to go on is kept in `folder`, if there is one.
    """

    def __init__(self, job: Job, folder: Path | None = None, points: Sequence[Any] = ()) -> None:
        super().__init__()
        self._job, self._folder, self._points = job, folder, list(points)
        self._environment = make_vec_env(job.make, seed=job.seed + APART)

    def _on_training_start(self) -> None:
        found = {name: version(name) for name in PACKAGES}
        self._job.say("versions", json.dumps({"python": platform.python_version(), **found}))
        for point in self._points:
            self._job.say("evaluated", *point)
        self._started = time.perf_counter() - (self._points[-1][1] if self._points else 0.0)

    def _on_step(self) -> bool:
        if self.num_timesteps % self._job.look == 0:
            mean, _ = evaluate_policy(self.model, self._environment, n_eval_episodes=self._job.episodes)
            self._points.append([self.num_timesteps, time.perf_counter() - self._started, float(mean)])
            self._job.say("evaluated", *self._points[-1])
            if self._folder:
                self._keep(self._folder)
        return not self.reached

    @property
    def reached(self) -> bool:
        """Whether the last evaluation has the job's goal."""
        return self._job.goal is not None and bool(self._points) and self._points[-1][2] >= self._job.goal

    def _keep(self, folder: Path) -> None:
        """All of it or nothing, whenever the process is ended."""
        before, partial = list(folder.glob("[0-9]*")), folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.model.save(partial / "model")
        self.model.save_replay_buffer(partial / "replay.pkl")
        (partial / "curve.json").write_text(json.dumps(self._points))
        partial.rename(folder / str(self.num_timesteps))
        for path in before:
            shutil.rmtree(path)


def measure_costs(job: Job, model: Any) -> None:
    """The seconds of one evaluation and of one checkpoint with replay."""
    environment = Monitor(job.make())
    started = time.perf_counter()
    evaluate_policy(model, environment, n_eval_episodes=job.episodes)
    evaluated = time.perf_counter()
    model.save("model")
    model.save_replay_buffer("replay")
    job.say("cost", evaluated - started, time.perf_counter() - evaluated)


if __name__ == "__main__":
    import stable_baselines3

    serve(lambda job: train(job, stable_baselines3))
