"""MuJoCo's camera in a video."""

import inspect
import sys
from typing import Any

FOLLOWING = "track"
"""The camera of Gymnasium's models that moves with the robot."""


def follow(environment: Any) -> None:
    """Draw with the model's camera that moves with the robot, where it has one and nobody chose another view.

    Gymnasium 1.4 draws with a free camera that stays where the episode began, so that whatever runs leaves the
    picture; it says so in its pull request 1618. Views that were chosen (`camera_id`, `camera_name`,
    `default_camera_config`) stay.
    """
    made: Any = environment.unwrapped
    renderer = getattr(made, "mujoco_renderer", None)
    if renderer is None or any(getattr(made, name, None) is not None for name in ("camera_id", "camera_name")):
        return
    usual = inspect.signature(made.__class__).parameters.get("default_camera_config")
    if usual is not None and renderer.default_cam_config is not usual.default:
        return
    mujoco: Any = sys.modules["mujoco"]  # which its environment has loaded
    number = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, FOLLOWING)
    if number >= 0:
        renderer.camera_id = number
