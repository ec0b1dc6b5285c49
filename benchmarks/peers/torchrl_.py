"""TorchRL, after the SAC of its own `sota-implementations`: Collector, TensorDictReplayBuffer, SACLoss, SoftUpdate.

With that example's defaults for the CPU: no `torch.compile`, batches prefetched, all three optimizers grouped. The
environments run one after another in this process (`SerialEnv`), as those of the others do.
"""

from typing import Any

import torch
from job import BATCH, DISCOUNT, HIDDEN, REPLAY, TAU, Job, serve
from tensordict.nn import InteractionType, TensorDictModule
from tensordict.nn.distributions import NormalParamExtractor
from torch import nn
from torchrl.collectors import Collector
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer
from torchrl.envs import (
    Compose,
    DoubleToFloat,
    ExplorationType,
    GymWrapper,
    InitTracker,
    RewardSum,
    SerialEnv,
    StepCounter,
    TransformedEnv,
    set_exploration_type,
)
from torchrl.modules import MLP, ProbabilisticActor, TanhNormal, ValueOperator
from torchrl.objectives import SACLoss, SoftUpdate, group_optimizers


def make_environment(job: Job, count: int) -> Any:
    """So many environments behind one, with the example's transforms."""

    def make() -> Any:
        return GymWrapper(job.make())

    environment = make() if count == 1 else SerialEnv(count, make)
    return TransformedEnv(environment, Compose(InitTracker(), StepCounter(), DoubleToFloat(), RewardSum()))


def make_networks(environment: Any) -> tuple[Any, Any]:
    """The actor and one critic, of which SACLoss makes two."""
    spec = environment.action_spec_unbatched
    mlp = MLP(num_cells=HIDDEN, out_features=2 * spec.shape[-1], activation_class=nn.ReLU)
    actor = ProbabilisticActor(
        spec=spec,
        in_keys=["loc", "scale"],
        module=TensorDictModule(
            nn.Sequential(mlp, NormalParamExtractor()), in_keys=["observation"], out_keys=["loc", "scale"]
        ),
        distribution_class=TanhNormal,
        distribution_kwargs={"low": spec.space.low, "high": spec.space.high, "tanh_loc": False},
        default_interaction_type=InteractionType.RANDOM,
        return_log_prob=False,
    )
    critic = ValueOperator(
        in_keys=["action", "observation"], module=MLP(num_cells=HIDDEN, out_features=1, activation_class=nn.ReLU)
    )
    with torch.no_grad(), set_exploration_type(ExplorationType.RANDOM):  # their first layers take their sizes from data
        data = environment.fake_tensordict()
        actor(data)
        critic(data)
    return actor, critic


def make_optimizer(job: Job, loss: SACLoss) -> torch.optim.Optimizer:
    """Adam for each of the three, grouped."""
    groups = (
        list(loss.actor_network_params.flatten_keys().values()),
        list(loss.qvalue_network_params.flatten_keys().values()),
        [loss.log_alpha],
    )
    return group_optimizers(*(torch.optim.Adam(group, lr=job.learning_rate) for group in groups))


def train(job: Job) -> None:
    """Train until the job is done or the process is ended."""
    torch.manual_seed(job.seed)
    environment = make_environment(job, job.envs)
    actor, critic = make_networks(environment)
    loss = SACLoss(actor, critic, num_qvalue_nets=2, loss_function="l2", delay_qvalue=True, alpha_init=1.0)
    loss.make_value_estimator(gamma=DISCOUNT)
    targets, optimizer = SoftUpdate(loss, eps=1 - TAU), make_optimizer(job, loss)
    replay = TensorDictReplayBuffer(storage=LazyTensorStorage(REPLAY), batch_size=BATCH, prefetch=3)
    collector = Collector(
        environment,
        actor,
        init_random_frames=job.start_steps,
        frames_per_batch=job.burst,
        total_frames=job.limit // job.burst * job.burst,
    )
    steps = 0
    for collected in collector:
        collector.update_policy_weights_()
        replay.extend(collected.reshape(-1))
        steps += collected.numel()
        if steps >= job.start_steps:
            for _ in range(job.burst):
                losses = loss(replay.sample())
                (losses["loss_actor"] + losses["loss_qvalue"] + losses["loss_alpha"]).sum().backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                targets.step()


if __name__ == "__main__":
    serve(train)
