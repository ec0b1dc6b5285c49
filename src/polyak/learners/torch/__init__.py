"""DDPG, TD3 and SAC in PyTorch."""

from polyak.learners.torch.device import describe, start
from polyak.learners.torch.learner import TorchLearner as Learner

__all__ = ["Learner", "describe", "start"]
