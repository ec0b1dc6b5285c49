"""polyak, as its README has it: one call of `train`, with settings by name; `options` may name more of them.

`options`: `backend`, and `settings` for `polyak.train`, such as {"lag": 1}; `costs` measures evaluation and checkpoint,
`parts` those parts of a step, in the third epoch.
"""

from typing import Any

from job import BATCH, DISCOUNT, EXPLORATION_NOISE, HIDDEN, REPLAY, TAU, Job, serve

import polyak


def settings(job: Job) -> dict[str, Any]:
    """The job in polyak's words."""
    common = {
        "start_steps": job.start_steps,
        "update_after": max(job.start_steps, BATCH),
        "update_every": job.burst if job.collect > 1 else 1,
        "updates_per_step": float(job.updates),
        "batch_size": BATCH,
        "discount": DISCOUNT,
        "polyak": 1 - TAU,
        "replay_size": REPLAY,
        "hidden_sizes": tuple(HIDDEN),
        "actor_learning_rate": job.learning_rate,
        "critic_learning_rate": job.learning_rate,
        "steps": job.limit,
        "steps_per_epoch": job.look if job.goal is not None or job.options.get("parts") else job.limit,
        "evaluation_episodes": job.episodes,
    }
    own = {
        "td3": {"exploration_noise": EXPLORATION_NOISE, "policy_delay": 2},
        "ddpg": {"exploration_noise": EXPLORATION_NOISE},
        "crossq": {"polyak": 0.0},
    }
    warm = {} if job.algorithm in ("td3", "ddpg") else {"alpha_learning_rate": job.learning_rate}
    return {**common, **warm, **own.get(job.algorithm, {}), **job.options.get("settings", {})}


def train(job: Job) -> None:
    """Train until the job is done or the process is ended."""
    wanted = settings(job)
    if job.options.get("costs"):  # what follows the first epoch's record, such as its checkpoint, is in the second's
        wanted |= {"steps": 2 * job.limit, "start_steps": 2 * job.limit, "update_after": 2 * job.limit}
    run = polyak.train(
        job.algorithm,
        job.make,
        preset="paper" if job.algorithm in ("sac", "td3", "ddpg") else "defaults",  # successors' papers have wider ones
        seed=job.seed,
        backend=job.options.get("backend", "jax"),
        device="cpu",
        threads=job.threads,
        envs=job.envs,
        stop_at_return=job.goal,
        probe=False,  # the clock counts the steps of the environment that is stepped first
        **wanted,
    )
    records = run.metrics
    if job.goal is not None:
        job.reached(int(records[-1]["step"]), records[-1]["eval/return"])
    if job.options.get("costs"):
        job.say("cost", records[0]["time/evaluation"], records[1]["time/saving"])
    if job.options.get("parts"):
        job.say("cost", *(records[2][f"time/{part}"] for part in job.options["parts"]))


if __name__ == "__main__":
    serve(train)
