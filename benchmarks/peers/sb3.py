"""Stable-Baselines3, as its documentation has it: a model with "MlpPolicy", `learn`; callbacks evaluate and stop.

Its `train_freq` counts steps of all environments at once, so that a burst is `train_freq` times as many steps as there
are environments, and `gradient_steps` as many updates. `options`: `costs` measures evaluation and checkpoint.
"""

import time
from typing import Any

import numpy as np
from job import BATCH, DISCOUNT, EXPLORATION_NOISE, HIDDEN, REPLAY, TAU, Job, serve
from stable_baselines3.common.callbacks import EvalCallback, StopTrainingOnRewardThreshold
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.noise import NormalActionNoise


def make_model(job: Job, library: Any, **own: Any) -> Any:
    """The model of `library`: stable_baselines3, or sbx, which has the same interface."""
    environments: Any = job.make() if job.envs == 1 else make_vec_env(job.make, n_envs=job.envs)
    if job.algorithm != "sac":  # its actions are normalized to [-1, 1]
        size = environments.action_space.shape[0]
        own["action_noise"] = NormalActionNoise(np.zeros(size), np.full(size, EXPLORATION_NOISE))
    return getattr(library, job.algorithm.upper())(
        "MlpPolicy",
        environments,
        learning_rate=job.learning_rate,
        buffer_size=REPLAY,
        learning_starts=job.start_steps - 1,  # it begins after the step that exceeds this
        batch_size=BATCH,
        tau=TAU,
        gamma=DISCOUNT,
        train_freq=job.collect,
        gradient_steps=job.burst,
        policy_kwargs={"net_arch": list(HIDDEN)},
        seed=job.seed,
        device="cpu",
        **own,
    )


def train(job: Job, library: Any, **own: Any) -> None:
    """Train until the job is done or the process is ended."""
    model = make_model(job, library, **own)
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
