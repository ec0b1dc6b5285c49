"""Learners in PyTorch."""

from polyak.frameworks.torch.device import describe, start
from polyak.frameworks.torch.learner import TorchLearner as Learner

__all__ = ["Learner", "describe", "start"]
