"""Tianshou 2, procedural interface, after its examples for SAC and REDQ on MuJoCo: Collector, random steps, training.

The actor's mean and standard deviation have one output layer each, as in the example; that is the same arithmetic.
"""

import numpy as np
import torch
from job import BATCH, DISCOUNT, HIDDEN, REPLAY, TAU, Job, serve
from tianshou.algorithm import REDQ, SAC
from tianshou.algorithm.modelfree.redq import REDQPolicy
from tianshou.algorithm.modelfree.sac import AutoAlpha, SACPolicy
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, ReplayBuffer, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.trainer import OffPolicyTrainerParams
from tianshou.utils.net.common import EnsembleLinear, Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic

CRITICS, SUBSET, DELAY = 10, 2, 20
"""Of REDQ."""


def make_algorithm(job: Job) -> SAC | REDQ:
    """SAC or REDQ with the job's networks and optimizers."""
    environment = job.make()
    observation, action = environment.observation_space.shape, environment.action_space.shape
    assert observation is not None
    assert action is not None
    actor = ContinuousActorProbabilistic(
        preprocess_net=Net(state_shape=observation, hidden_sizes=HIDDEN),
        action_shape=action,
        unbounded=True,
        conditioned_sigma=True,
    )
    adam = AdamOptimizerFactory(lr=job.learning_rate)
    alpha = AutoAlpha(-float(np.prod(action)), 0.0, adam)
    if job.algorithm == "redq":

        def linear(inputs: int, outputs: int) -> EnsembleLinear:
            return EnsembleLinear(CRITICS, inputs, outputs)

        body = Net(state_shape=observation, action_shape=action, hidden_sizes=HIDDEN, concat=True, linear_layer=linear)
        return REDQ(
            policy=REDQPolicy(actor=actor, action_space=environment.action_space),
            policy_optim=adam,
            critic=ContinuousCritic(
                preprocess_net=body, linear_layer=linear, flatten_input=False, apply_preprocess_net_to_obs_only=False
            ),
            critic_optim=adam,
            ensemble_size=CRITICS,
            subset_size=SUBSET,
            actor_delay=DELAY,
            tau=TAU,
            gamma=DISCOUNT,
            alpha=alpha,
        )
    critics = [
        ContinuousCritic(
            preprocess_net=Net(state_shape=observation, action_shape=action, hidden_sizes=HIDDEN, concat=True)
        )
        for _ in range(2)
    ]
    return SAC(
        policy=SACPolicy(actor=actor, action_space=environment.action_space),
        policy_optim=adam,
        critic=critics[0],
        critic_optim=adam,
        critic2=critics[1],
        critic2_optim=adam,
        tau=TAU,
        gamma=DISCOUNT,
        alpha=alpha,
    )


def train(job: Job) -> None:
    """Train until the job is done or the process is ended."""
    torch.manual_seed(job.seed)
    np.random.seed(job.seed)  # noqa: NPY002 -- what it samples replay with
    algorithm = make_algorithm(job)
    environments = DummyVectorEnv([job.make] * job.envs)
    environments.seed(job.seed)
    replay = ReplayBuffer(REPLAY) if job.envs == 1 else VectorReplayBuffer(REPLAY, job.envs)
    collector = Collector(algorithm, environments, replay, exploration_noise=True)
    collector.reset()
    collector.collect(n_step=job.start_steps, random=True)
    goal, tests = job.goal, Collector(algorithm, DummyVectorEnv([job.make])) if job.goal is not None else None
    scores: list[float] = []

    def reached(score: float) -> bool:
        scores.append(score)
        return goal is not None and score >= goal

    result = algorithm.run_training(
        OffPolicyTrainerParams(
            training_collector=collector,
            test_collector=tests,
            test_step_num_episodes=job.episodes,
            stop_fn=reached if tests else None,
            max_epochs=(job.limit - job.start_steps) // job.look,
            epoch_num_steps=job.look,
            collection_step_num_env_steps=job.burst,
            update_step_num_gradient_steps_per_sample=float(job.updates),
            batch_size=BATCH,
            verbose=False,
            show_progress=False,
        )
    )
    if goal is not None:
        job.reached(job.start_steps + result.update_step * job.burst, scores[-1])


if __name__ == "__main__":
    serve(train)
