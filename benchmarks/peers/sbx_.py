"""SBX, Stable-Baselines3 in JAX: the same interface, and so the same recipe."""

import sbx
from job import Job, serve
from sb3 import train as train_with


def train(job: Job) -> None:
    """Train until the job is done or the process is ended; its DDPG has a learning rate of its own for the critic."""
    train_with(job, sbx, qf_learning_rate=job.learning_rate)


if __name__ == "__main__":
    serve(train)
