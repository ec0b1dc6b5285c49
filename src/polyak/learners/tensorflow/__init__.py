"""DDPG, TD3 and SAC in TensorFlow."""

from polyak.learners.tensorflow import quiet as quiet  # first: it imports TensorFlow without its remarks
from polyak.learners.tensorflow.device import describe, start
from polyak.learners.tensorflow.learner import TensorFlowLearner as Learner

__all__ = ["Learner", "describe", "start"]
