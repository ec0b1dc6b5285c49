"""Learners in TensorFlow."""

from polyak.frameworks.tensorflow import quiet as quiet  # first: it imports TensorFlow without its remarks
from polyak.frameworks.tensorflow.device import describe, start
from polyak.frameworks.tensorflow.learner import TensorFlowLearner as Learner

__all__ = ["Learner", "describe", "start"]
