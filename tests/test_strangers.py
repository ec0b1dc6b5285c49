"""Packages and environments of other people: how they are named, and what is said of whatever goes wrong in them."""

import importlib.metadata
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import NormalizeReward, TimeLimit, TransformReward

import polyak
from polyak import UsageError
from polyak.environments import registry
from polyak.environments.make import make_environment, make_environments
from polyak.environments.names import module_of
from polyak.system.signals import came_by_signal, signals_marked
from tiny import Numbers, Shown
from tiny_cli import SMALL, Tiny, call_cli, untrained_run

Write = Callable[[str, str], str]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes a module of a name, which can be imported; it and all that it registers are forgotten afterwards."""
    names: list[str] = []
    before = set(gymnasium.registry)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(name: str, text: str) -> str:
        file = tmp_path / f"{name.replace('.', '/')}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        importlib.invalidate_caches()
        names.append(name.partition(".")[0])
        return name

    yield write
    for name in set(gymnasium.registry) - before:
        del gymnasium.registry[name]
    for loaded in [each for each in sys.modules if each.partition(".")[0] in names]:
        del sys.modules[loaded]


def registers(*ids: str, entry_point: str = "tiny:Shown") -> str:
    return "import gymnasium\n" + "".join(f"gymnasium.register({each!r}, {entry_point!r})\n" for each in ids)


def refusal(environment: Any, **options: Any) -> str:
    """What is said, in one line."""
    with pytest.raises(UsageError) as caught:
        make_environment(environment, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Names


@pytest.mark.parametrize("name", ["xyzzy", "Pendulm-v1", "a/B-v0"])
def test_an_unknown_id_says_how_those_of_other_packages_are_named(name: str) -> None:
    said = refusal(name)
    assert f"module:{name}" in said
    assert "gymnasium_robotics:FetchReach-v4" in said
    assert "CarRacing" not in said
    assert "Reacher" not in said


@pytest.mark.parametrize(
    ("name", "package", "module", "install"),
    [
        ("FetchReach-v4", "gymnasium-robotics", "gymnasium_robotics", '"polyak[robotics]"'),
        ("HandReach-v2", "gymnasium-robotics", "gymnasium_robotics", '"polyak[robotics]"'),
        ("AntMaze_UMaze-v5", "gymnasium-robotics", "gymnasium_robotics", '"polyak[robotics]"'),
        ("PandaReachDense-v3", "panda-gym", "panda_gym", "panda-gym"),
        ("parking-v0", "highway-env", "highway_env", "highway-env"),
    ],
)
def test_an_id_whose_package_is_known_names_it(
    name: str, package: str, module: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    monkeypatch.setattr(gymnasium, "registry", {})
    monkeypatch.setitem(sys.modules, module, None)  # whoever imports it is told that it is not there
    said = refusal(name)
    assert f"It is one of {package}'s, named with its module: {module}:{name}" in said
    assert said.endswith(f"once it is installed (pip install {install})")
    assert refusal(f"{module}:{name}").endswith(
        f"cannot import {module!r}; install it or mend the path: pip install {install}"
    )


def test_a_robot_that_fails_with_a_new_mujoco_says_which_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    mujoco = pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    robots = pytest.importorskip("gymnasium_robotics.envs.robot_env", reason="gymnasium-robotics is not installed")

    def fails(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(robots.MujocoRobotEnv, "__init__", fails)
    assert "MuJoCo" not in refusal("gymnasium_robotics:FetchReach-v4")
    monkeypatch.setattr(mujoco, "__version__", "3.12.1")
    said = refusal("gymnasium_robotics:FetchReach-v4")
    assert "raised AssertionError while it was made" in said
    assert said.endswith('fail from MuJoCo 3.12 on, and 3.12.1 is installed: pip install "polyak[robotics]"')


def test_a_suggestion_keeps_the_module(module: Write) -> None:
    module("robots", registers("Grasp-v4", "Grasp-v10"))
    assert "Did you mean robots:Grasp-v4" in refusal("robots:Grasp-v3")
    assert "Did you mean robots:Grasp-v4" in refusal("robots:Graps-v4")
    del gymnasium.registry["Grasp-v10"], gymnasium.registry["Grasp-v4"]


def test_an_id_that_is_registered_already_is_suggested_with_its_package() -> None:
    assert "Did you mean tiny_cli:Tiny-v0?" in refusal("Tiny-v3")
    assert "Did you mean Pendulum-v1?" in refusal("Pendulm-v1")


def test_what_a_module_registered_is_listed_up_to_a_bound(module: Write) -> None:
    module("only", registers("Only-v0"))
    assert "Did you mean only:Only-v0?" in refusal("only:Something-v0")
    module("few", registers("One-v0", "Two-v0"))
    assert refusal("few:Something-v0").endswith("'few' registered One-v0, Two-v0")
    assert refusal("few:").endswith("'few' registered One-v0, Two-v0")  # a second time, when it is imported already
    module("many", registers(*(f"Many{number}-v0" for number in range(40))))
    assert refusal("many:Something-v0").endswith(" and 32 more")
    assert len(refusal("many:Something-v0")) < 300


def test_a_module_that_registers_nothing_says_what_to_look_for(module: Write) -> None:
    module("nothing.environments", registers("Hidden-v0"))
    module("nothing.__init__", "def register_all(): ...\n")
    said = refusal("nothing:Hidden-v0")
    assert "'nothing' was imported and registered no environment: look for a submodule" in said
    assert "nothing.environments" in said
    assert "call its register function (nothing.register_all) in a file of your own" in said
    assert "my_file:Hidden-v0" in said
    assert make_environment("nothing.environments:Hidden-v0").unwrapped.__class__ is Shown


def distribution(folder: Path, name: str, *modules: str) -> None:
    """As an installer leaves it."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if len(modules) > 1:
        (info / "top_level.txt").write_text("".join(f"{module}\n" for module in modules))
    else:  # many say it by the list of their files alone
        (info / "RECORD").write_text(f"{modules[0]}.py,,\n{info.name}/METADATA,,\n")


def test_the_name_of_a_distribution_leads_to_its_module(module: Write, tmp_path: Path) -> None:
    module("arm_gym", registers("Arm-v0"))
    assert make_environment("arm-gym:Arm-v0")  # also where nothing says that it is installed
    module("walker_world", registers("Walk-v0"))
    distribution(tmp_path, "Best-Walkers", "walker_world", "tests", "_native")
    for name in ("Best-Walkers", "best-walkers", "best_walkers", "Best.Walkers"):
        assert module_of(f"{name}:Walk-v0") == "walker_world"
    assert make_environment("best-walkers:Walk-v0")
    assert "Did you mean walker_world:Walk-v0" in refusal("best-walkers:Walk-v1")
    distribution(tmp_path, "two-worlds", "first_world", "second_world")
    assert "installs 2 modules: name the one that registers X-v0, of first_world, second_world" in refusal(
        "two-worlds:X-v0"
    )


def test_the_look_for_a_distribution_imports_nothing(module: Write, tmp_path: Path) -> None:
    module("dangerous", "raise SystemExit('imported')")
    distribution(tmp_path, "harmless-name", "dangerous")
    assert module_of("harmless-name:X") == "dangerous"
    assert "dangerous" not in sys.modules


def test_a_distribution_in_a_strangers_run_leads_to_no_code_there(module: Write, tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "runs")
    module("evil_module", "raise SystemExit('imported')")
    (tmp_path / "evil_module.py").rename(run.folder / "evil_module.py")
    distribution(run.folder, "nice-name", "evil_module")
    sys.path.insert(0, str(run.folder))
    try:
        settings = run.settings_file.read_text().replace('"tiny_cli:Tiny-v0"', '"nice-name:X-v0"')
        run.settings_file.write_text(settings)
        with pytest.raises(UsageError, match="own folder"):
            polyak.load(run.folder).evaluate(1)
    finally:
        sys.path.remove(str(run.folder))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("my_file.py:X-v0", "my_file:X-v0"),
        ("./my_file.py:X-v0", "my_file:X-v0"),
        ("folder/my_file.py:X-v0", "folder.my_file:X-v0"),
        ("/some/where/my_file.py:X-v0", "in the folder /some/where, my_file:X-v0"),
        ("my-file.py:X-v0", "my_file:Id for an Id that my_file.py registers, my_folder.my_file:Id for one in a folder"),
    ],
)
def test_a_file_is_answered_with_its_module(name: str, right: str) -> None:
    assert f"is no module's name: write {right}" in refusal(name)


@pytest.mark.parametrize("name", ["a/b:X-v0", ".here:X-v0", "a..b:X-v0", "a b:X-v0", "\0:X-v0"])
def test_what_is_no_modules_name_says_how_one_looks(name: str) -> None:
    assert "is no module's name: write my_file:Id" in refusal(name)


# What an import raises

RAISED = {
    "def f(:": "SyntaxError: invalid syntax",
    "from gymnasium.utils import nothere": "ImportError: cannot import name 'nothere'",
    "import numpy\nnumpy.bool8": "AttributeError: module 'numpy' has no attribute 'bool8'",
    "raise ValueError('two\\n   lines')": "ValueError: two lines",
    "raise TypeError": "TypeError (",
    "import sys\nsys.exit(0)": "SystemExit: 0",
    "def check():\n  assert 1 == 2\ncheck()": "AssertionError (raising.py, line 2: assert 1 == 2)",
    "def deeper(): deeper()\ndeeper()": "RecursionError: maximum recursion depth exceeded",
    "raise ExceptionGroup('several', [ValueError()])": "ExceptionGroup: several",
    "raise KeyboardInterrupt": "KeyboardInterrupt (",
    "class Odd(BaseException):\n def __str__(self): raise OSError\nraise Odd": "Odd (",
    "import warnings\nwarnings.warn('old', DeprecationWarning)": "DeprecationWarning: old",
    "raise GeneratorExit('x')": "GeneratorExit: x",
    "raise StopIteration('x')": "StopIteration: x",
    "raise MemoryError('x' * 10000)": "MemoryError: xxx",
    "raise ModuleNotFoundError('by hand')": "ModuleNotFoundError: by hand",
    "import gymnasium\ngymnasium.register('no good id!', 'a:b')": "Error: ",
}


@pytest.mark.parametrize(("text", "said"), RAISED.items())
def test_whatever_an_import_raises_is_named(text: str, said: str, module: Write) -> None:
    name = module("raising", text)
    message = refusal(f"{name}:X-v0")
    assert message.startswith(f"environment 'raising:X-v0': importing 'raising' raised {said}")
    assert "raising.py, line" in message
    assert "install" not in message
    assert len(message) < 700


def test_the_cause_stays_for_python(module: Write) -> None:
    module("raising", "raise ValueError('the cause')")
    with pytest.raises(UsageError) as caught:
        make_environment("raising:X-v0")
    assert repr(caught.value.__cause__) == "ValueError('the cause')"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\nimport not_there_at_all", "'needing' (line 2) needs 'not_there_at_all', which is not installed"),
        ("import numpy.not_there", "'needing' (line 1) needs 'numpy.not_there', which is not in the version installed"),
        ("import importlib\nimportlib.import_module('not_there')", "'needing' (line 2) needs 'not_there'"),
    ],
)
def test_a_dependency_that_is_missing_is_named_with_who_needs_it(text: str, said: str, module: Write) -> None:
    name = module("needing", text)
    assert refusal(f"{name}:X-v0").startswith(f"environment 'needing:X-v0': {said}")


def test_install_it_is_said_of_the_package_alone(module: Write) -> None:
    assert "cannot import 'not_there_at_all'; install it" in refusal("not_there_at_all.environments:X-v0")
    assert "cannot import 'not-there-at-all'; install it" in refusal("not-there-at-all:X-v0")
    module("there.__init__", "")
    said = refusal("there.missing.more:X-v0")
    assert "cannot import 'there.missing': 'there' has no such module" in said
    assert "install" not in said


def test_the_command_line_says_one_line(module: Write) -> None:
    for text in ("def f(:", "import sys; sys.exit(0)", "raise KeyboardInterrupt"):
        name = module("raising", text)
        code, out, err = call_cli("train", "sac", f"{name}:X-v0", "--steps", "300")
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert err.startswith("polyak: environment 'raising:X-v0': importing 'raising' raised ")


def test_what_an_import_prints_is_not_on_standard_output(module: Write) -> None:
    name = module("printing", "print('printed')\n" + registers("Printing-v0", entry_point="tiny_cli:Tiny"))
    environment, much = f"{name}:Printing-v0", str(10**13)  # more replay than fits, which is found out after the import
    for command, wanted in (
        (("presets", environment, "--preset", "book"), 0),
        (("train", "ddpg", environment, "--backend", "torch", "--no-probe", "--steps", much, "--replay-size", much), 2),
    ):
        sys.modules.pop(name, None)
        gymnasium.registry.pop("Printing-v0", None)
        code, out, err = call_cli(*command)
        assert code == wanted, err
        assert "printed" in err
        assert "printed" not in out


# What a constructor raises


class Custom(BaseException):
    pass


def raising(error: BaseException) -> Callable[[], Any]:
    def make() -> Any:
        raise error

    return make


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("mass must be positive\nelement 'geom'"), "ValueError while it was made: mass must be positive el"),
        (SystemExit(0), "SystemExit while it was made: 0"),
        (KeyboardInterrupt(), "KeyboardInterrupt while it was made ("),
        (Custom("x"), "Custom while it was made: x"),
        (StopIteration(), "StopIteration while it was made ("),
        (DeprecationWarning("old"), "DeprecationWarning while it was made: old"),
        (ImportError("libGL.so.1"), "ImportError while it was made: libGL.so.1"),
    ],
    ids=repr,
)
def test_whatever_a_constructor_raises_is_named(error: BaseException, said: str, tmp_path: Path) -> None:
    message = refusal(raising(error))
    assert "raising.<locals>.make' raised " + said in message
    gymnasium.register("Raising-v0", entry_point=raising(error))
    try:
        assert refusal("Raising-v0").startswith(f"environment 'Raising-v0' raised {said}")
        for vectorization in ("sync", "async"):
            with pytest.raises(UsageError, match="'Raising-v0' raised"):
                make_environments("Raising-v0", 2, Numbers, vectorization=vectorization)
        code, out, err = call_cli("train", "sac", "Raising-v0", "--run-dir", str(tmp_path / "runs"))
    finally:
        del gymnasium.registry["Raising-v0"]
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "runs").exists()


class Arm(Tiny):
    def __init__(self, robot: str, *, speed: float, render_mode: str | None = None) -> None:
        super().__init__(render_mode=render_mode)


class Within(Tiny):
    def __init__(self) -> None:
        Arm()  # type: ignore[call-arg]


def test_a_missing_argument_says_where_to_give_it() -> None:
    gymnasium.register("Arm-v0", entry_point=Arm)
    gymnasium.register("Within-v0", entry_point=Within)
    try:
        said = refusal("Arm-v0")
        assert "raised TypeError while it was made: Arm.__init__() missing 1 required positional argument" in said
        assert "gymnasium.register(..., kwargs=dict(robot=...)) in a file of your own" in said
        assert "creator for" not in said
        assert "lambda: MyEnv(robot=...)" in refusal(Arm)
        assert "kwargs" not in refusal("Within-v0")  # the fault is within
    finally:
        del gymnasium.registry["Arm-v0"], gymnasium.registry["Within-v0"]


@pytest.mark.filterwarnings("ignore:.*not in the possible render_modes:UserWarning")
def test_a_constructor_without_render_mode_is_named_where_a_video_is_asked_for() -> None:
    gymnasium.register("Within-v0", entry_point=Shown)
    try:
        said = refusal("Within-v0", render_mode="rgb_array")
    finally:
        del gymnasium.registry["Within-v0"]
    assert "'Within-v0' cannot be recorded: it takes no render_mode" in said


def test_an_entry_point_that_is_missing_is_named() -> None:
    gymnasium.register("Lost-v0", entry_point="not_there_at_all:X")
    gymnasium.register("Away-v0", entry_point="tiny:NotThere")
    try:
        assert "'Lost-v0' cannot be made: its entry point needs 'not_there_at_all', which is not" in refusal("Lost-v0")
        assert "'Away-v0' raised AttributeError while it was made: module 'tiny' has no" in refusal("Away-v0")
    finally:
        del gymnasium.registry["Lost-v0"], gymnasium.registry["Away-v0"]


class WithoutSpaces(Shown):
    def __init__(self, *missing: str) -> None:
        super().__init__()
        for name in missing:
            delattr(self, name)


def test_a_space_that_is_missing_or_none_of_gymnasiums_is_named() -> None:
    for name in ("observation_space", "action_space"):
        made = WithoutSpaces(name)
        assert f"its {name} is not set, but must be a space of gymnasium.spaces" in refusal(lambda made=made: made)
        assert made.closed
    made = Shown()
    made.observation_space = 3  # type: ignore[assignment]
    assert "its observation_space is a builtins.int" in refusal(lambda: made)


def test_environments_that_are_not_alike_are_refused() -> None:
    sizes = iter([2, 3, 4])
    with pytest.raises(UsageError, match=r"observation.space"):
        make_environments(lambda: Shown(spaces.Box(-1.0, 1.0, (next(sizes),))), 2, Numbers)


def test_ctrl_c_while_an_environment_is_made_is_the_users() -> None:
    def make() -> Any:
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it was not interrupted")

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        make_environment(make)
    assert signal.getsignal(signal.SIGINT) is handler


def test_signals_act_as_ever_and_what_their_handlers_raise_is_marked() -> None:
    came: list[int] = []

    def leave(number: int, _: Any) -> None:
        came.append(number)
        raise SystemExit(99)

    usual = signal.signal(signal.SIGTERM, leave)
    try:
        with signals_marked():
            with pytest.raises(SystemExit) as left:
                signal.raise_signal(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt) as pressed:
                signal.raise_signal(signal.SIGINT)
            assert came_by_signal(left.value)
            assert came_by_signal(pressed.value)
            assert not came_by_signal(SystemExit(99))
            assert not came_by_signal(KeyboardInterrupt())
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        assert came == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is leave
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
        assert came_by_signal(KeyboardInterrupt())  # where nothing is marked, it may be
    finally:
        signal.signal(signal.SIGTERM, usual)
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    elsewhere: list[bool] = []

    def enter() -> None:
        with signals_marked():  # no handler runs in another thread
            elsewhere.append(came_by_signal(KeyboardInterrupt()))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert elsewhere == [False]


@pytest.mark.parametrize("environment", [None, 3, b"Pendulum-v1", [], Shown(), gymnasium.spec("Pendulum-v1")])
def test_what_is_neither_a_name_nor_a_callable_is_refused(environment: Any) -> None:
    kind = type(environment).__name__
    assert re.match(
        f"environment is an? {kind}, but must be an id .*or a callable that makes a new", refusal(environment)
    )


# Metadata that are none


class NoMetadata(Tiny):
    metadata = None  # type: ignore[assignment]


def test_metadata_that_are_none_are_empty_ones(tmp_path: Path) -> None:
    gymnasium.register("NoMetadata-v0", entry_point=NoMetadata, max_episode_steps=3)
    try:
        assert make_environment("NoMetadata-v0").metadata == {}
        run = untrained_run(tmp_path, "NoMetadata-v0", envs=2)
        assert run.metrics[-1]["train/length"] == 3
        assert run.evaluate(1).lengths == (3,)
        assert run.record(output=tmp_path / "film.mp4").exists()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert make_environment(NoMetadata, render_mode="rgb_array").metadata == {}
    finally:
        del gymnasium.registry["NoMetadata-v0"]


def test_a_vector_environments_metadata_that_are_none_say_no_autoreset_mode() -> None:
    class Bare(SyncVectorEnv):
        def __init__(self) -> None:
            super().__init__([Shown], autoreset_mode=AutoresetMode.DISABLED)
            self.metadata = None  # type: ignore[assignment]

    with pytest.raises(UsageError, match="does not say how it resets"):
        make_environments(Bare, 1, Numbers)


@pytest.mark.parametrize("count", [None, 0, "two"])
def test_a_vector_environment_without_a_count_is_refused(count: Any) -> None:
    vector = Objective((2, 1))
    vector.num_envs = count
    assert f"its num_envs is {count!r}, but must be a number of environments" in refusal(lambda: vector)


# Rewards of several numbers


class Objectives(Tiny):
    """As those of mo-gymnasium."""

    def __init__(self, objectives: int = 3, declared: bool = True) -> None:
        super().__init__()
        self._objectives = objectives
        if declared:
            self.reward_space = spaces.Box(-1.0, 1.0, (objectives,))

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, np.full(self._objectives, reward, np.float32), terminated, truncated, info


class Dimension(Tiny):
    reward_dim = np.int64(4)


class LinearReward(gymnasium.Wrapper[Any, Any, Any, Any]):
    """As that of mo-gymnasium, which knows it by its name: its other wrappers leave rewards as they are."""

    __module__ = "mo_gymnasium.wrappers.wrappers"

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, float(np.sum(reward)), terminated, truncated, info


class Adding(LinearReward):
    """One that nobody knows."""

    __module__ = "elsewhere"


class Passing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """As wrappers did in old versions."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.env, name)


class Objective(VectorEnv[Any, Any, Any]):
    def __init__(self, shape: tuple[int, ...], name: str = "reward_space") -> None:
        inner = SyncVectorEnv([Shown] * 2, autoreset_mode=AutoresetMode.DISABLED)
        self.single_observation_space, self.single_action_space = (
            inner.single_observation_space,
            inner.single_action_space,
        )
        self.num_envs, self.metadata = 2, inner.metadata
        setattr(self, name, spaces.Box(-1.0, 1.0, shape))


@pytest.mark.parametrize(
    ("make", "size"),
    [
        (Objectives, 3),
        (Dimension, 4),
        (lambda: TimeLimit(Objectives(2), 5), 2),
        (lambda: NormalizeReward(TimeLimit(Objectives(2), 5)), 2),
        (lambda: Passing(Objectives(5)), 5),
        (lambda: SyncVectorEnv([lambda: TimeLimit(Objectives(2), 5)]), 2),
        (lambda: Objective((2, 3)), 3),
        (lambda: Objective((3,)), 3),
        (lambda: Objective((2,), "single_reward_space"), 2),
    ],
)
def test_a_reward_of_several_numbers_is_refused_before_there_is_a_folder(make: Any, size: int, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=rf"rewards with {size} numbers.*mo_gymnasium\.wrappers\.LinearReward"):
        polyak.train("sac", make, run_dir=tmp_path, **SMALL)
    assert not list(tmp_path.iterdir())


def test_one_that_nobody_declared_is_named_at_the_first_step() -> None:
    environments = make_environments(lambda: Objectives(3, declared=False), 2, Numbers)
    environments.reset()
    with pytest.raises(
        polyak.TrainingError, match=r"reward.*\(3,\).*weigh the 3 of them in mo_gymnasium.*LinearReward"
    ):
        environments.step(np.zeros((2, 1), np.float32))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearReward(Objectives()),
        lambda: TimeLimit(LinearReward(Objectives()), 5),
        lambda: Adding(Objectives()),
        lambda: TransformReward(Objectives(), float),
        lambda: LinearReward(Passing(Objectives())),
        lambda: Objectives(1),
        lambda: Objective((2,)),
        lambda: Objective((2, 1)),
    ],
)
def test_one_number_is_taken_also_where_it_was_made_of_several(make: Any) -> None:
    make_environment(make)
