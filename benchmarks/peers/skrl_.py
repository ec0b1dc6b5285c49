"""skrl, after the examples in its documentation: models with mixins, RandomMemory, the SAC agent, SequentialTrainer.

Its Gaussian policy is not squashed by tanh, and its agent updates at every step: it has no bursts. Writing to
TensorBoard and checkpoints are off. Several environments are a Gymnasium vector, which resets in a step of its own that
the clock does not see: a round is then longer by one step for every episode that ended in it.
"""

from typing import Any

import gymnasium
import torch
from job import BATCH, DISCOUNT, HIDDEN, REPLAY, TAU, Job, serve
from skrl.agents.torch.sac import SAC, SAC_CFG
from skrl.envs.wrappers.torch import wrap_env
from skrl.memories.torch import RandomMemory
from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from torch import nn


def layers(inputs: int, outputs: int) -> nn.Sequential:
    """The network that all share."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN[0]), nn.ReLU(), nn.Linear(*HIDDEN), nn.ReLU(), nn.Linear(HIDDEN[1], outputs)
    )


class Actor(GaussianMixin, Model):
    """Mean, bounded by tanh, and standard deviation of a Gaussian."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        GaussianMixin.__init__(self, clip_actions=True, clip_log_std=True, min_log_std=-20, max_log_std=2)
        self.net = layers(self.num_observations, 2 * self.num_actions)
        self.register_buffer("half_range", torch.as_tensor(self.action_space.high))

    def compute(self, inputs: Any, role: str) -> Any:
        """Of a batch of observations."""
        mean, log_std = self.net(inputs["observations"]).chunk(2, dim=-1)
        return torch.tanh(mean) * self.half_range, {"log_std": log_std}


class Critic(DeterministicMixin, Model):
    """Q(s, a)."""

    def __init__(self, **spaces: Any) -> None:
        Model.__init__(self, **spaces)
        DeterministicMixin.__init__(self)
        self.net = layers(self.num_observations + self.num_actions, 1)

    def compute(self, inputs: Any, role: str) -> Any:
        """Of a batch of observations and actions."""
        return self.net(torch.cat([inputs["observations"], inputs["taken_actions"]], dim=1)), {}


def train(job: Job) -> None:
    """Train until the process is ended."""
    set_seed(job.seed)
    made = job.make() if job.envs == 1 else gymnasium.vector.SyncVectorEnv([job.make] * job.envs)
    environment: Any = wrap_env(made, wrapper="gymnasium")
    spaces = {
        "observation_space": environment.observation_space,
        "action_space": environment.action_space,
        "device": environment.device,
    }
    critics = ("critic_1", "critic_2", "target_critic_1", "target_critic_2")
    settings = SAC_CFG(
        gradient_steps=job.envs,
        batch_size=BATCH,
        discount_factor=DISCOUNT,
        polyak=TAU,
        learning_rate=job.learning_rate,
        random_timesteps=job.start_steps // job.envs,
        learning_starts=job.start_steps // job.envs,
        initial_entropy_value=1.0,
    )
    settings.experiment.write_interval = settings.experiment.checkpoint_interval = 0
    agent = SAC(
        models={"policy": Actor(**spaces), **{name: Critic(**spaces) for name in critics}},
        memory=RandomMemory(memory_size=REPLAY // job.envs, num_envs=job.envs, device=environment.device),
        cfg=settings,
        **spaces,
    )
    trainer = {"timesteps": job.limit // job.envs, "headless": True, "disable_progressbar": True}
    SequentialTrainer(cfg=trainer, env=environment, agents=agent).train()


if __name__ == "__main__":
    serve(train)
