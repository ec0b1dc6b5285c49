"""A policy in another format: ONNX Runtime and a C compiler are really run, and broken copies are caught."""

import ctypes
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import polyak
from polyak import Policy, Spec, TrainingError, UsageError
from polyak.deploy import export as room
from polyak.deploy.export import running
from polyak.deploy.export.c_header import c_header
from polyak.deploy.export.check import acted, checked
from polyak.deploy.export.copied import ROWS, Copy
from polyak.deploy.export.observations import Group, observations_for
from polyak.deploy.export.onnx_model import onnx_model
from polyak.networks.layers import Activation, Body, Dense, Dropout, Norm, Residual, TanhBounds, body_of
from polyak.networks.weights import shapes
from polyak.policies.contents import Kind
from polyak.policies.normalizer import Normalizer
from snippets import DOCS, blocks
from tiny_cli import PATIENCE, TINY, call_cli, process_environment, untrained_run

FORMATS = ("onnx", "c")
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion", "-Wcast-qual"]


def compiler(name: str = "cc") -> str:
    """A compiler's path; without one the test is skipped, or fails where POLYAK_NEEDS_COMPILER is set."""
    if found := shutil.which(name):
        return found
    message = f"no {name} on the PATH (Debian: apt-get install gcc g++)"
    if os.environ.get("POLYAK_NEEDS_COMPILER"):
        pytest.fail(message)
    pytest.skip(message)


def random_policy(
    body: Body | None = None, kind: Kind = "squashed_gaussian", seed: int = 0, *, seen: bool = True, **spec: Any
) -> Policy:
    """A policy of random weights, whose actions are neither all alike nor all at the bounds."""
    generator = np.random.default_rng(seed)
    shown = Spec(
        **{
            "observation_shape": (3,),
            "action_shape": (2,),
            "action_low": np.array([-1.0, 0.5], np.float32),
            "action_high": np.array([3.0, 20.0], np.float32),
            **spec,
        }
    )
    layers = body or body_of((8, 8), shown.action_size * (1 if kind == "deterministic" else 2))
    arrays = {
        name: generator.normal(0.0, 1.0 if len(shape) == 1 else 1.0 / np.sqrt(shape[0]), shape).astype(np.float32)
        for name, shape in shapes(layers, shown.observation_size).items()
    }
    arrays |= {name: np.abs(value) + 0.5 for name, value in arrays.items() if name.endswith(("scale", "variance"))}
    size = shown.observation_size
    scale = np.abs(generator.normal(1.0, 0.3, size)).astype(np.float32) + np.float32(0.1)
    normalizer = Normalizer(generator.normal(0.0, 1.0, size).astype(np.float32), scale, 2.0) if seen else None
    return Policy(arrays, shown, kind, body=layers, normalizer=normalizer)


def content_of(copy: Copy, chosen: str, name: str = "policy") -> bytes:
    return onnx_model(copy) if chosen == "onnx" else c_header(copy, name)


def runner_of(copy: Copy, chosen: str) -> running.Runner:
    if chosen == "c":
        compiler()
    return running.onnx_runtime(copy) if chosen == "onnx" else running.compiled_c(copy, "policy")


def tried_on(policy: Policy, spread: float = 2.0) -> list[Group]:
    rows = np.random.default_rng(1).normal(0.0, spread, (50, policy.spec.observation_size))
    return [Group("drawn", rows.astype(np.float32))]


def difference(copy: Copy, chosen: str, of: Copy | None = None) -> float:
    """The largest between the policy of a copy and what is written of it, or `of` another."""
    return checked(copy, content_of(of or copy, chosen), runner_of(copy, chosen), tried_on(copy.policy)).difference


def use_of(content: bytes, folder: Path, *options: str) -> Callable[..., tuple[int, list[float]]]:
    """`policy_act` of a header, compiled into a library with these options: what it returns, and `action` then."""
    (folder / "policy.h").write_bytes(content)
    signature = content.decode().split("static inline int policy_act(")[1].partition(")")[0]
    names = ", ".join(each.rpartition(" ")[2].removeprefix("*") for each in signature.split(","))
    (folder / "use.c").write_text(
        f'#include "policy.h"\nint use({signature});\nint use({signature}) {{ return policy_act({names}); }}\n'
    )
    library = folder / f"use{len(list(folder.iterdir()))}.so"
    # Linked without the options: -Ofast would link what takes subnormal numbers from this whole process.
    for command in (
        [compiler(), "-std=c99", *(options or STRICT), "-fPIC", "-c", "use.c", "-o", "use.o"],
        [compiler(), "-shared", "use.o", "-o", str(library), "-lm"],
    ):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    function = ctypes.CDLL(str(library)).use

    def use(*vectors: Any, actions: int = 2) -> tuple[int, list[float]]:
        given = [(ctypes.c_float * len(each))(*each) for each in vectors]
        action = (ctypes.c_float * actions)(*[777.0] * actions)
        return function(*given, action), list(action)

    return use


# Equal


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize(
    ("kind", "stochastic"), [("deterministic", False), ("squashed_gaussian", False), ("squashed_gaussian", True)]
)
def test_a_copy_gives_the_policy_s_actions(chosen: str, kind: Kind, stochastic: bool, seen: bool) -> None:
    copy = Copy(random_policy(kind=kind, seen=seen), stochastic)
    rows = tried_on(copy.policy)[0].rows
    noise = np.random.default_rng(2).standard_normal((50, 2), np.float32)
    actions = acted(copy, rows, noise)
    assert np.ptp(actions, axis=0).min() > 0.2
    expected = (
        copy.policy.spec.to_environment(copy.policy.explore(rows, noise)) if stochastic else copy.policy.act(rows)
    )
    np.testing.assert_array_equal(actions, expected)
    assert difference(copy, chosen) < 1e-6


SINGLE = st.one_of(
    st.integers(1, 9).map(Dense),
    st.builds(Norm, st.sampled_from((1e-5, 1e-2))),
    st.just(Dropout(0.5)),
    st.builds(Activation, st.sampled_from(("relu", "elu", "silu", "tanh"))),
)


@st.composite
def bodies(draw: st.DrawFn, outputs: int, inputs: int = 3, deep: int = 2) -> Body:
    """Layers of all kinds, also within each other, that end in a dense one."""
    layers: list[Any] = []
    width = inputs
    for layer in draw(st.lists(st.none() | SINGLE if deep else SINGLE, max_size=5)):
        layers.append(layer or Residual(draw(bodies(width, width, deep - 1))))
        width = getattr(layer, "outputs", width)
    return (*layers, Dense(outputs))


@pytest.mark.parametrize("chosen", FORMATS)
@given(st.data(), st.booleans(), st.booleans(), st.integers(0, 99))
@hypothesis_settings(max_examples=15, deadline=None, derandomize=True, database=None)
def test_whatever_the_body_the_copy_is_the_policy(
    chosen: str, data: Any, drawn: bool, bounded: bool, seed: int
) -> None:
    kind: Kind = "squashed_gaussian" if drawn else "deterministic"
    bounds = (TanhBounds(-3.0, 1.0),) if bounded else ()
    policy = random_policy((*data.draw(bodies(4 if drawn else 2)), *bounds), kind, seed)
    assert difference(Copy(policy, stochastic=drawn), chosen) <= 1e-5


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("shape", [(), (2, 3)])
def test_shapes_are_the_environment_s(chosen: str, shape: tuple[int, ...]) -> None:
    bounds = {"action_low": -np.ones(4, np.float32), "action_high": np.ones(4, np.float32)}
    policy = random_policy(body_of((8,), 8), observation_shape=shape, action_shape=(2, 2), **bounds)
    copy = Copy(policy)
    assert difference(copy, chosen) < 1e-6
    if chosen == "onnx":
        session = onnxruntime.InferenceSession(onnx_model(copy))
        for count in (0, 1, 5):
            (action,) = session.run(None, {"observation": np.zeros((count, *shape), np.float32)})
            assert action.shape == (count, 2, 2)


def test_a_wide_policy_is_within_rounding_and_quick() -> None:
    copy = Copy(random_policy(body_of((256, 256), 4)))
    for chosen in FORMATS:
        assert difference(copy, chosen) < 5e-6


def test_blocks_of_simba_are_copied(tmp_path: Path) -> None:
    copy = Copy(random_policy((*body_of((16, 16), 4, "simba"), TanhBounds())), stochastic=True)
    for chosen in FORMATS:
        assert difference(copy, chosen) < 1e-5
    assert use_of(c_header(copy, "policy"), tmp_path)([0.1, 0.2, 0.3], [0.0, 0.0])[0] == 0


def test_equal_policies_are_equal_files() -> None:
    for chosen in FORMATS:
        assert content_of(Copy(random_policy()), chosen) == content_of(Copy(random_policy()), chosen)


# Broken copies are caught


def broken() -> dict[str, tuple[Policy, Policy]]:
    """A policy, and another that a wrong exporter would have written."""
    policy, elu = random_policy(), random_policy(body_of((8, 8), 4, activation="elu"))
    spec = policy.spec
    assert policy.normalizer is not None
    clipped = dataclasses.replace(policy.normalizer, clip=3.0)
    swapped = Spec(spec.observation_shape, (2,), spec.action_low[::-1].copy(), spec.action_high[::-1].copy())
    arrays = {
        name: np.flip(value, 0).copy() if name == "0/kernel" else value for name, value in policy.parameters.items()
    }
    one = {name: value + (1e-3 if name == "2/bias" else 0) for name, value in policy.parameters.items()}
    return {
        "normalizer left out": (policy, dataclasses.replace(policy, normalizer=None)),
        "another clip": (policy, dataclasses.replace(policy, normalizer=clipped)),
        "ReLU for ELU": (elu, dataclasses.replace(elu, body=body_of((8, 8), 4))),
        "ELU for SiLU": (
            random_policy(body_of((8, 8), 4, activation="silu")),
            random_policy(body_of((8, 8), 4, activation="elu")),
        ),
        "bounds swapped": (policy, dataclasses.replace(policy, spec=swapped)),
        "inputs in another order": (policy, dataclasses.replace(policy, parameters=arrays)),
        "a bias of a thousandth more": (policy, dataclasses.replace(policy, parameters=one)),
    }


@pytest.mark.parametrize("chosen", FORMATS)
@pytest.mark.parametrize("wrong", sorted(broken()))
def test_a_broken_copy_is_caught_and_leaves_no_file(
    chosen: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, other = broken()[wrong]
    if chosen == "c":
        compiler()
    monkeypatch.setattr(room, "onnx_model", lambda _: onnx_model(Copy(other)))
    monkeypatch.setattr(room, "c_header", lambda _, name: c_header(Copy(other), name))
    with pytest.raises(TrainingError, match="the copy is not the policy, and was not kept: by "):
        polyak.export(policy, tmp_path / "out", format=chosen)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_compiled_or_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler()
    monkeypatch.setattr(room, "c_header", lambda _, name: c_header(Copy(random_policy()), name) + b"oops\n")
    with pytest.raises(TrainingError, match=r"the check of the copy failed: cc ended with 1: .*"):
        polyak.export(random_policy(), tmp_path / "x.h", format="c")
    assert not list(tmp_path.iterdir())


def test_where_float32_itself_is_coarse_a_copy_may_be_too() -> None:
    """Far from zero two ways to add up the same numbers differ by more than 1e-5; a wrong bias is still caught."""
    policy = random_policy(body_of((64, 64), 2, activation="tanh"), "deterministic", seen=False)
    arrays = {name: value * (1 if name.startswith("2") else 40) for name, value in policy.parameters.items()}
    policy = dataclasses.replace(policy, parameters=arrays)
    groups = tried_on(policy, spread=100.0)
    (found,) = checked(Copy(policy), onnx_model(Copy(policy)), running.onnx_runtime(Copy(policy)), groups).groups
    assert 1e-5 < found.limit < 1e-1
    assert found.difference <= found.limit


# Numbers that are not finite


@pytest.mark.parametrize("options", [STRICT, ["-Ofast", "-w"]])
def test_c_leaves_the_action_untouched_where_a_number_is_not_finite(options: list[str], tmp_path: Path) -> None:
    use = use_of(c_header(Copy(random_policy()), "policy"), tmp_path, *options)
    code, action = use([0.5, -1.0, 2.0])
    assert code == 0
    np.testing.assert_allclose(action, random_policy().act([0.5, -1.0, 2.0]), rtol=1e-5)
    for wrong in (np.nan, np.inf, -np.inf):
        for place in range(3):
            given = [0.5, -1.0, 2.0]
            given[place] = wrong
            assert use(given) == (1, [777.0, 777.0])


def test_c_also_where_what_it_computes_on_the_way_is_not_finite(tmp_path: Path) -> None:
    """-inf before a ReLU is 0 behind it, and tanh of infinity is 1: neither is to be seen in the action."""
    for layer in ("relu", "tanh", "elu"):
        policy = random_policy(body_of((8, 8), 2, activation=layer), "deterministic", seen=False)
        large = {
            name: np.full_like(value, -1e20) if name == "0/kernel" else value
            for name, value in policy.parameters.items()
        }
        use = use_of(c_header(Copy(dataclasses.replace(policy, parameters=large)), "policy"), tmp_path)
        assert use([1.0, 1.0, 1.0])[0] == 0
        assert use([1e20, 1e20, 1e20]) == (1, [777.0, 777.0])


def test_c_takes_noise_and_refuses_what_is_not_finite_in_it(tmp_path: Path) -> None:
    copy = Copy(random_policy(), stochastic=True)
    use = use_of(c_header(copy, "policy"), tmp_path)
    code, action = use([0.5, -1.0, 2.0], [0.3, -0.7])
    expected = acted(copy, np.array([[0.5, -1.0, 2.0]], np.float32), np.array([[0.3, -0.7]], np.float32))
    np.testing.assert_allclose(action, expected[0], rtol=1e-5)
    assert code == 0
    assert use([0.5, -1.0, 2.0], [0.3, np.nan]) == (1, [777.0, 777.0])


def test_onnx_gives_nan_where_a_number_is_not_finite() -> None:
    for activation in ("relu", "tanh"):
        session = onnxruntime.InferenceSession(onnx_model(Copy(random_policy(body_of((8,), 4, activation=activation)))))
        rows = np.array([[0, 0, np.nan], [np.inf, 0, 0], [0, -np.inf, 0], [0, 0, 0]], np.float32)
        (action,) = session.run(None, {"observation": rows})
        assert np.isnan(action[:3]).all()
        assert np.isfinite(action[3]).all()


# Headers


def test_several_headers_are_used_in_one_program_of_c_and_of_c_plus_plus(tmp_path: Path) -> None:
    arm, leg = random_policy(), random_policy(body_of((8,), 2, "layer_norm", "silu"), "deterministic", seed=3)
    (tmp_path / "arm.h").write_bytes(c_header(Copy(arm), "arm"))
    (tmp_path / "leg.h").write_bytes(c_header(Copy(leg), "left_leg"))
    program = """
    #include "arm.h"
    #include "leg.h"
    #include "arm.h"
    #include <stdio.h>
    int main(void) {
        const float observation[ARM_OBSERVATION_SIZE] = {0.5f, -1.0f, 2.0f};
        float arm[ARM_ACTION_SIZE], leg[LEFT_LEG_ACTION_SIZE];
        if (arm_act(observation, arm) || left_leg_act(observation, leg)) return 1;
        printf("%.9g %.9g %.9g %.9g", (double)arm[0], (double)arm[1], (double)leg[0], (double)leg[1]);
        return 0;
    }
    """
    (tmp_path / "use.c").write_text(program)
    expected = [*arm.act([0.5, -1.0, 2.0]), *leg.act([0.5, -1.0, 2.0])]
    for name, *how in (("cc", "-std=c99"), ("c++", "-std=c++11", "-x", "c++")):
        command = [compiler(name), *how, *STRICT, "use.c", "-o", "use", "-lm"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed = subprocess.run([tmp_path / "use"], capture_output=True, text=True, check=True).stdout
        np.testing.assert_allclose([float(each) for each in printed.split()], expected, rtol=1e-5)


def test_weights_read_back_exactly(tmp_path: Path) -> None:
    """Also the smallest, the largest, and zero with a sign."""
    odd = np.array([[1e-45, 3.4028235e38], [-0.0, 1.0], [0.1, -1 / 3]], np.float32)
    policy = random_policy((Dense(2),), "deterministic", seen=False)
    policy = dataclasses.replace(policy, parameters={"0/kernel": odd, "0/bias": np.zeros(2, np.float32)})
    content = c_header(Copy(policy), "policy").decode()
    (tmp_path / "policy.h").write_text(content)
    (tmp_path / "use.c").write_text(
        '#include "policy.h"\n#include <stdio.h>\nint main(void) { (void)policy_act; '
        "return fwrite(policy_kernel_0, sizeof policy_kernel_0, 1, stdout) != 1; }\n"
    )
    subprocess.run([compiler(), *STRICT, "use.c", "-o", "use", "-lm"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "use"], capture_output=True, check=True).stdout == odd.tobytes()


HOSTILE = "x */ int evil; /* \\\n#error\n??/ \u2028 // é \x1b[31m"


def test_a_stranger_s_marks_stay_within_the_comment(tmp_path: Path) -> None:
    policy = dataclasses.replace(random_policy(), made_for={"environment": HOSTILE, HOSTILE: HOSTILE, "polyak": "99"})
    content = c_header(Copy(policy), "policy")
    assert content.count(b"*/") == c_header(Copy(random_policy()), "policy").count(b"*/")
    assert content.isascii()
    assert use_of(content, tmp_path)([0.0, 0.0, 0.0])[0] == 0
    model = onnx.load_from_string(onnx_model(Copy(policy)))
    told = {each.key: each.value for each in model.metadata_props}
    assert told["polyak"] == polyak.__version__
    assert told["environment"] == HOSTILE


# The model


def test_what_a_model_says_of_itself() -> None:
    parts = ["dict", [["goal", ["array", [2], "float32"]], ["which", ["choices", [3], [0], []]]]]
    policy = random_policy(body_of((8,), 4), observation_shape=(5,), observation_parts=parts)
    policy = dataclasses.replace(policy, made_for={"algorithm": "sac", "environment": "Cart-v0", "seed": 3})
    model = onnx.load_from_string(onnx_model(Copy(policy, checked=False)))
    told = {each.key: each.value for each in model.metadata_props}
    assert told["polyak"] == model.producer_version == polyak.__version__
    assert (told["algorithm"], told["environment"], told["seed"]) == ("sac", "Cart-v0", "3")
    assert told["observation"] == "the vector of its parts: goal [0:2], which [2:5]"
    assert told["normalizer"] == "inside, clipped at 2"
    assert told["checked"] == "no: exported with --unchecked"
    assert Spec.from_json(json.loads(told["spec"])).agrees_with(policy.spec)
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 17)]
    assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["observation", "action"]
    assert b"checked: no: exported with --unchecked" in c_header(Copy(policy, checked=False), "policy")


# Commands


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    return untrained_run(tmp_path_factory.mktemp("runs"), algorithm="sac")


@pytest.mark.parametrize("chosen", FORMATS)
def test_a_run_is_exported_beside_its_policy(run: polyak.Run, chosen: str) -> None:
    if chosen == "c":
        compiler()
    code, output, errors = call_cli("export", str(run.folder), "--format", chosen)
    assert code == 0, errors
    path = Path(output.strip())
    assert path == run.folder / ("policy.onnx" if chosen == "onnx" else "policy.h")
    first, *groups, last = errors.splitlines()
    assert first.startswith("largest difference ")
    assert [" ".join(each.split()[1:4]).rstrip(":") for each in groups] == [
        "seen, from replay",
        "at the bounds",
        "outside: 0.0e+00 (not",
    ] or len(groups) == 3
    assert groups[0].split()[:4] == ["600", "seen,", "from", "replay:"]
    assert groups[1].split()[:4] == ["200", "at", "the", "bounds:"]
    assert groups[2].split()[:2] == ["200", "outside:"]
    assert groups[2].endswith("(not judged)")
    assert last.startswith("one action takes ")
    assert " in NumPy " in last
    again = call_cli("export", str(run.folder), "--format", chosen, "--policy", "best", "--stochastic")
    assert again[0] == 0
    assert Path(again[1].strip()).stem == "best"
    content = path.read_bytes()
    assert content == content_of(Copy(run.policy), chosen)


def test_observations_are_those_of_replay_at_the_bounds_and_outside(run: polyak.Run) -> None:
    seen, bounds, outside = observations_for(run.policy, run, run.player)
    assert len(seen.rows) + len(bounds.rows) + len(outside.rows) == ROWS
    assert (seen.judged, bounds.judged, outside.judged) == (True, True, False)
    assert set(seen.rows[:, 1]) == {0.0, 1.0, 2.0, 3.0, 4.0}  # the time, in what replay holds
    assert set(np.unique(bounds.rows)) == {-10.0, 10.0}
    assert np.abs(outside.rows).min() > 10.0


def test_without_replay_observations_are_of_fresh_episodes_and_without_an_environment_drawn(
    run: polyak.Run, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(run.folder, copied, ignore=shutil.ignore_patterns("checkpoints", "*.onnx", "*.h"))
    code, _, errors = call_cli("export", str(copied))
    assert code == 0
    assert "600 seen, from fresh episodes (there is no checkpoint in" in errors
    file = str(copied / "policy.safetensors")
    code, _, errors = call_cli("export", file, "-o", str(tmp_path / "a.onnx"), "--environment", TINY)
    assert code == 0
    assert "600 seen, from fresh episodes (a policy alone has no replay)" in errors
    code, _, errors = call_cli("export", file, "-o", str(tmp_path / "b.onnx"))
    assert code == 0
    assert "600 normal numbers (a policy alone has no replay; no environment is named)" in errors
    policy, (seen, *_) = random_policy(), observations_for(random_policy(), None, _no_player)
    assert policy.normalizer is not None
    assert np.abs((seen.rows.mean(axis=0) - policy.normalizer.mean) * policy.normalizer.scale).max() < 0.2


def _no_player() -> Any:
    raise UsageError("none")


class Rooms(gymnasium.Env[Any, Any]):
    """Shows a place and one of three rooms."""

    observation_space = gymnasium.spaces.Dict(
        {"place": gymnasium.spaces.Box(-2, 2, (2,), np.float32), "room": gymnasium.spaces.Discrete(3)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return {"place": self.np_random.uniform(-2, 2, 2).astype(np.float32), "room": np.int64(1)}, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return *self.reset()[:1], 0.0, False, bool(self.np_random.integers(2)), {}


def test_a_policy_of_parts_is_shown_their_vector(tmp_path: Path) -> None:
    policy = random_policy(
        body_of((8,), 2),
        observation_shape=(5,),
        observation_parts=["dict", [["place", ["array", [2], "float32"]], ["room", ["choices", [3], [0], []]]]],
        action_shape=(1,),
        action_low=-np.ones(1, np.float32),
        action_high=np.ones(1, np.float32),
    )
    seen, bounds, _ = observations_for(policy, None, lambda: polyak.Player(policy, Rooms))
    np.testing.assert_array_equal(seen.rows[:, 2:], [[0, 1, 0]] * 600)
    assert set(np.unique(bounds.rows[:, :2])) == {-2.0, 2.0}
    assert set(np.unique(bounds.rows[:, 2:])) == {0.0, 1.0}
    made = polyak.export(policy, tmp_path / "rooms.onnx", environment=Rooms)
    assert made.check is not None
    assert made.check.difference < 1e-6


def test_a_stranger_s_policy_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "evil.py").write_text("raise SystemExit('run')\n")
    dataclasses.replace(random_policy(), made_for={"environment": "evil:Evil-v0", "algorithm": "evil"}).save(
        "it.safetensors"
    )
    assert call_cli("export", "it.safetensors")[:2] == (0, "it.onnx\n")


def test_an_unchecked_copy_needs_nothing_that_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CC", "no-such-compiler")
    random_policy().save(tmp_path / "it.safetensors")
    for chosen, said in (
        ("onnx", 'pip install "polyak[export]"'),
        ("c", "none of no-such-compiler, cc, gcc, clang is"),
    ):
        words = ["export", str(tmp_path / "it.safetensors"), "--format", chosen, "-o", str(tmp_path / chosen)]
        code, output, errors = call_cli(*words)
        assert (code, output) == (2, "")
        assert said in errors
        assert "--unchecked" in errors
        assert errors.count("\n") == 1
        code, output, errors = call_cli(*words, "--unchecked")
        assert (code, errors) == (0, "unchecked: nothing has run this copy yet\n")
        assert b"exported with --unchecked" in (tmp_path / chosen).read_bytes()
    monkeypatch.setitem(sys.modules, "onnx", None)
    code, _, errors = call_cli("export", str(tmp_path / "it.safetensors"), "-o", str(tmp_path / "x"), "--unchecked")
    assert code == 2
    assert "takes the package onnx, which is not installed: pip install" in errors


def test_what_cannot_be_asked_for_is_said_in_a_line(
    run: polyak.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = str(run.policy_file)
    random_policy(kind="deterministic").save("mu.safetensors")
    (tmp_path / "policy.onnx").touch()
    (tmp_path / "folder").mkdir()
    for words, said in (
        ([str(run.folder), "--format", "torchscript"], "torchscript"),
        ([str(run.folder), "--name", "arm"], "an ONNX model has no function to be named"),
        ([str(run.folder), "--format", "c", "--name", "2arm"], "name is '2arm', but must be a name of C's"),
        ([str(run.folder), "--format", "c", "--name", "__x"], "name is '__x'"),
        ([str(run.folder), "-o", "absent/x.onnx"], "there is no folder absent"),
        ([str(run.folder), "-o", "folder"], "cannot write folder: Is a directory"),
        ([file], "policy.onnx is there already: say with -o"),
        ([file, "--best"], "a policy alone has no better one beside it"),
        (["mu.safetensors", "--stochastic", "-o", "x"], "this policy is deterministic"),
        (["absent"], "absent is not a run"),
        (["absent.safetensors"], "there is no policy file absent.safetensors"),
        ([str(run.folder), "--steps", "3"], "export has no --steps"),
        ([str(run.folder), "-o", "/dev/null/x"], "cannot write /dev/null/x"),
        ([str(run.folder), "-o", "/proc/x.onnx"], "cannot write /proc/x.onnx"),
    ):
        code, output, errors = call_cli("export", *words)
        assert (code, output) == (2, ""), words
        assert said in errors, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "mu.safetensors", "policy.onnx"]
    assert (tmp_path / "policy.onnx").read_bytes() == b""


def test_an_export_asks_no_framework(run: polyak.Run, tmp_path: Path) -> None:
    program = f"""
import sys
sys.modules |= dict.fromkeys(["jax", "jaxlib", "torch", "tensorflow", "flax"])
import polyak
print(polyak.export({str(run.folder)!r}, {str(tmp_path / "x.onnx")!r}).check.difference < 1e-5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=process_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


# The page


def test_the_snippets_of_the_page_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler()
    monkeypatch.chdir(tmp_path)
    scripts = blocks("deploy.md", "python") | blocks("deploy.md", "c") | blocks("deploy.md", "sh")
    policy = random_policy(
        body_of((8,), 2),
        action_shape=(1,),
        action_low=np.array([-2.0], np.float32),
        action_high=np.array([2.0], np.float32),
    )
    dataclasses.replace(policy, made_for={"environment": "Pendulum-v1"}).save("policy.safetensors")
    assert call_cli("export", "policy.safetensors")[:2] == (0, "policy.onnx\n")
    assert call_cli("export", "policy.safetensors", "--format", "c")[:2] == (0, "policy.h\n")
    names: dict[str, Any] = {}
    exec(scripts["onnx_policy.py"], names)
    np.testing.assert_allclose(names["action"][0], policy.act([1.0, 0.0, 0.0]), rtol=1e-5)
    assert names["about"]["environment"] == "Pendulum-v1"
    assert names["about"]["checked"].startswith("1,000 observations")
    (tmp_path / "main.c").write_text(scripts["main.c"])
    subprocess.run(scripts["compile"], shell=True, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert abs(float(printed) - policy.act([1.0, 0.0, 0.0])[0]) < 1e-5
    name = ["--format", "c", "--name", "arm", "-o", "arm.h"]
    assert f"polyak export RUN {' '.join(name)} " in (DOCS / "deploy.md").read_text()
    assert call_cli("export", "policy.safetensors", *name)[0] == 0
    for said in ("int arm_act(", "#define ARM_OBSERVATION_SIZE 3\n", "#define ARM_ACTION_SIZE 1\n"):
        assert said in (tmp_path / "arm.h").read_text()


def test_a_policy_that_sees_no_achieved_goal_is_tried_on_what_it_sees(tmp_path: Path) -> None:
    """Replay and environment show one more part, or another order, than the policy takes."""
    settings = {"hindsight": True, "goal_ends": "environment", "max_episode_steps": 10}
    trained = untrained_run(tmp_path, "tiny_goals:Points-v0", "ddpg", **settings)
    policy = trained.policy
    assert [key for key, _ in policy.spec.observation_parts[1]] == ["observation", "desired_goal"]
    copied = tmp_path / "copied"
    shutil.copytree(trained.folder, copied, ignore=shutil.ignore_patterns("checkpoints"))
    for folder, source in ((trained.folder, "replay"), (copied, "fresh episodes")):
        of = polyak.load(folder)
        seen, bounds, _ = observations_for(of.policy, of, of.player)
        assert seen.name.startswith(f"seen, from {source}")
        assert seen.rows.shape == (600, policy.spec.observation_size)
        assert bounds.rows.shape == (200, policy.spec.observation_size)
        code, _, errors = call_cli("export", str(folder))
        assert code == 0, errors
    model = onnx.load(str(trained.folder / "policy.onnx"))
    told = {each.key: each.value for each in model.metadata_props}
    assert told["observation"].startswith("the vector of its parts: observation [0:")
    assert "achieved_goal" not in told["observation"]
