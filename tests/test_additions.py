"""What is added to an environment's id, arguments and wrappers: given once, and made again wherever the run is used."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

import polyak
from adding import Counted, Skipping
from polyak import Run, UsageError
from polyak.environments.additions import Additions
from polyak.environments.make import make_environment, make_environments
from polyak.errors import TrainingError
from polyak.experience.collector import Collector
from polyak.report.groups import grouped
from polyak.settings.kinds import checked
from polyak.settings.options import KINDS
from test_resume import Told
from tiny import Numbers
from tiny_cli import OPTIONS, TINY, Tiny, call_cli, untrained_run
from whole_runs import assert_same, saved, snapshots

SHORT: dict[str, Any] = {"steps": 30, "steps_per_epoch": 12, "backend": "torch", "probe": False}
TWICE, COUNTED = "adding:Twice", "adding:Counted"


# Said at the door


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["g=5", "name=arm", "on=true", "none=null"], {"g": 5, "name": "arm", "on": True, "none": None}),
        (["sizes=[1, 2.5]", 'of={"a": [true]}', "text=a=b", 'quoted="5"'], None),
        ({"g": np.float32(0.5), "of": (1, 2)}, {"g": 0.5, "of": [1, 2]}),
    ],
)
def test_settings_are_read_as_json_else_as_text(given: Any, read: Any) -> None:
    expected = read or {"sizes": [1, 2.5], "of": {"a": [True]}, "text": "a=b", "quoted": "5"}
    found = checked("environment_settings", given, KINDS["environment_settings"])
    assert found == expected
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"environment_settings": ["g"]}, "or as texts NAME=VALUE, each name once"),
        ({"environment_settings": ["g=1", "g=2"]}, "each name once"),
        ({"environment_settings": 5}, "must be settings by their names"),
        ({"environment_settings": {"g": object()}}, "g is <object .*but must be a number, a text"),
        ({"environment_settings": ["g=NaN"]}, "environment_settings: g is nan, but must be finite"),
        ({"environment_settings": {"a b": 1}}, "a name in environment_settings is 'a b'"),
        ({"environment_settings": {"text": "a\nb"}}, "a text that can be shown in a line"),
        ({"environment_settings": {"render_mode": "human"}}, "but polyak chooses it where it records"),
        ({"environment_settings": {"max_episode_steps": 3}}, "--max-episode-steps"),
        ({"environment_settings": {"lenght": 3}}, "takes no argument 'lenght' .*; it takes length, raises_at"),
        ({"wrappers": "gymnasium.wrappers.ClipAction"}, "is not named as module:Class"),
        ({"wrappers": "my_file.py:Mine"}, "is not named as module:Class"),
        ({"wrappers": "no_such_module:Mine"}, "cannot import 'no_such_module'"),
        ({"wrappers": "os:system"}, "must be a class of gymnasium.Wrapper, but 'os' has"),
        ({"wrappers": "subprocess:Popen"}, "must be a class of gymnasium.Wrapper, but 'subprocess' has a class"),
        ({"wrappers": "gymnasium.wrappers:Nothing"}, "has no such name"),
        ({"wrappers": "gymnasium.wrappers:RescaleAction"}, r"class Mine\(RescaleAction\)"),
        ({"wrappers": "gymnasium.wrappers:ClipAction", "vectorization": "envpool"}, "wrappers is for environments"),
        ({"environment_settings": {"g": 5}, "vectorization": "envpool"}, "environment_settings is for environments"),
        ({"environment": Tiny, "environment_settings": {"length": 5}}, "the environment is no id"),
        ({"environment": Tiny, "wrappers": TWICE}, "wrappers is .*, but the environment is no id"),
    ],
)
def test_what_cannot_be_added_is_refused_and_leaves_no_folder(
    options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=said):
        untrained_run(tmp_path, **{"environment": TINY, **SHORT, **options})
    assert not list(tmp_path.iterdir())


# Made


def test_wrappers_stand_innermost_first_inside_the_time_limit() -> None:
    added = Additions({"length": 8}, ("adding:Skipping", COUNTED))
    environment = make_environment("tiny_cli:Tiny-v0", max_episode_steps=2, additions=added)
    assert isinstance(environment, TimeLimit)
    assert isinstance(environment.env, Counted)
    assert isinstance(environment.env.env, Skipping)
    environment.reset(seed=0)
    ends = [environment.step(np.zeros(1))[3] for _ in range(2)]
    assert ends == [False, True]  # of two steps that are six of the simulator's
    assert environment.unwrapped.taken == 6
    pendulum = make_environment("Pendulum-v1", additions=Additions(wrappers=(TWICE,)))
    assert isinstance(pendulum, TimeLimit)
    assert pendulum._max_episode_steps == 200  # the id's own
    assert make_environment("Pendulum-v1", additions=Additions({"g": 5.0})).unwrapped.g == 5.0


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, dict[str, str]]:
    """A run in Tiny with an argument and two wrappers, and what was told at its start."""
    told = Told()
    folder = tmp_path_factory.mktemp("added")
    options = {"environment_settings": {"length": 4, "reward_scale": 2.0}, "wrappers": [TWICE, COUNTED]}
    return untrained_run(folder, observer=told, **{**SHORT, **options}), told.facts


def test_the_run_keeps_them_and_says_so(added: tuple[Run, dict[str, str]]) -> None:
    run, facts = added
    assert run.settings["environment_settings"] == {"length": 4, "reward_scale": 2.0}
    assert run.settings["wrappers"] == [TWICE, COUNTED]
    assert run.settings["spaces"]["observation_shape"] == [3]
    assert facts["preset"] == "general, tuned without what is added below"
    assert facts["arguments"] == "length=4, reward_scale=2.0"
    assert facts["wrappers"] == f"{TWICE}, {COUNTED}"
    assert run.folder.parent.parent.name == "tiny_cli_Tiny-v0+length=4+reward_scale=2.0+Twice+Counted"
    assert {record["train/length"] for record in run.metrics} == {4}


def test_evaluate_record_and_resume_make_the_same(
    added: tuple[Run, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Path(shutil.copytree(added[0].folder, tmp_path / "run")))
    assert run.evaluate(2).lengths == (4, 4)
    assert run.evaluate(2, environment=TINY).lengths == (4, 4)  # its own id, as who moves it names it
    assert run.film(1, output=tmp_path / "a.mp4").evaluation.lengths == (4,)
    with pytest.raises(UsageError, match="takes observations"):
        run.evaluate(1, environment=Tiny)  # another environment is as it is
    resumed = polyak.resume(run.folder, steps=36)
    assert resumed.metrics[-1]["train/length"] == 4
    assert resumed.settings["wrappers"] == [TWICE, COUNTED]


def test_reports_tell_such_runs_apart(added: tuple[Run, dict[str, str]], tmp_path: Path) -> None:
    plain = untrained_run(tmp_path, **SHORT)
    groups = grouped([added[0], plain])
    assert [group.environment for group in groups] == [
        "tiny_cli:Tiny-v0",
        "tiny_cli:Tiny-v0 (length=4, reward_scale=2.0, Twice, Counted)",
    ]


def test_reading_a_run_imports_no_wrapper_and_one_that_came_with_it_is_refused(
    added: tuple[Run, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(Path(shutil.copytree(added[0].folder, tmp_path / "run")))
    (run.folder / "came_along.py").write_text("raise SystemExit('a stranger has been run')")
    settings = json.loads(run.settings_file.read_text()) | {"wrappers": ["came_along:Wrapper"]}
    run.settings_file.write_text(json.dumps(settings))
    monkeypatch.syspath_prepend(run.folder)
    run = polyak.load(run.folder)
    assert run.settings["wrappers"] == ["came_along:Wrapper"]
    assert run.policy.act(np.zeros(3)).shape == (1,)
    for use in (run.evaluate, run.record):
        with pytest.raises(UsageError, match="was trained with the wrapper 'came_along:Wrapper', and 'came_along'"):
            use()
    assert "came_along" not in sys.modules


def test_a_checkpoint_with_a_wrapper_that_came_along_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "came_with.py").write_text("from adding import Twice as Wrapper")
    with monkeypatch.context() as patch:
        patch.syspath_prepend(home)
        run = untrained_run(tmp_path / "runs", wrappers="came_with:Wrapper", **SHORT)
        del sys.modules["came_with"]
    shutil.move(home / "came_with.py", run.folder)
    monkeypatch.syspath_prepend(run.folder)
    with pytest.raises(UsageError, match="was trained with the wrapper 'came_with:Wrapper'"):
        polyak.resume(run.folder, steps=36)
    assert "came_with" not in sys.modules


def test_on_the_command_line(tmp_path: Path) -> None:
    flags = ["--env-setting", "length=4", "--env-setting=reward_scale=0.5", "--wrapper", TWICE, "--wrapper", COUNTED]
    code, output, errors = call_cli(
        *("train", "ddpg", TINY, *OPTIONS, "--update-after", "1000", "--backend", "torch", "--plain"),
        *("--run-dir", str(tmp_path), *flags),
    )
    assert code == 0, errors
    run = polyak.load(output.strip())
    assert run.settings["environment_settings"] == {"length": 4, "reward_scale": 0.5}
    assert run.settings["wrappers"] == [TWICE, COUNTED]
    assert "DDPG on tiny_cli:Tiny-v0 (length=4, reward_scale=0.5, Twice, Counted), seed 0" in errors
    assert call_cli("evaluate", str(run.folder), "--episodes", "1")[1].splitlines()[0].endswith("length      4")


# Changed while training


def changed_with(steps: int) -> float:
    return 1.0 + steps // 4


@pytest.fixture
def curriculum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reward's scale follows from the steps, and is asked for in the middle of episodes."""
    step = Collector.step

    def stepping(self: Collector, *given: Any) -> Any:
        self.environments.set("reward_scale", changed_with(self.steps))
        return step(self, *given)

    monkeypatch.setattr(Collector, "step", stepping)


@pytest.mark.usefixtures("curriculum")
@pytest.mark.parametrize(
    ("options", "at"),
    [
        ({"checkpoint_every": 3}, (11, 19)),
        ({"envs": 2, "checkpoint_every": 4}, (6,)),
        ({"environment": Tiny, "evaluate_in": "training", "checkpoint_every": 3}, (20,)),
        ({"fresh_environments": True, "checkpoint_every": 9}, (10,)),
    ],
)
def test_a_run_whose_environment_changes_goes_on_bit_for_bit(
    options: dict[str, Any], at: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A running episode is enacted again with what it began with, which is not what the next one gets."""
    taken = snapshots(monkeypatch, tmp_path, *at).taken
    given = {"environment": TINY, **SHORT, "steps": 22, **options}
    whole = untrained_run(tmp_path / "runs", **given)
    assert saved(whole).manifest.state["environments"]["changed"]["next"] == {
        "reward_scale": changed_with(22 - options.get("envs", 1))
    }
    again = {"environment": Tiny} if options.get("environment") is Tiny else {}
    for folder in list(taken.values()):
        changed = saved(Run(folder)).manifest.state["environments"]["changed"]
        assert any(changed["next"] != running for running in changed["running"])
        resumed = polyak.resume(folder, **again)
        assert_same(resumed, whole)
        assert resumed.settings["resumed"][0]["given_up"] == 0


def lengths(environments: Any, steps: int) -> list[list[int]]:
    """The steps at which each environment's episodes ended."""
    action = np.zeros((environments.count, 1), np.float32)
    ended: list[list[int]] = [[] for _ in range(environments.count)]
    for step in range(1, steps + 1):
        for index in np.flatnonzero(environments.step(action).ended):
            ended[index].append(step)
    return ended


@pytest.mark.parametrize("vectorization", ["sync", "async"])
@pytest.mark.parametrize("environment", [TINY, Tiny])
def test_a_setting_holds_from_the_next_episode_on(vectorization: Any, environment: Any) -> None:
    environments = make_environments(environment, 2, Numbers, vectorization=vectorization)
    try:
        environments.reset()
        assert lengths(environments, 3) == [[], []]
        environments.set("length", 3)
        assert "changed" in environments.state()
        assert lengths(environments, 5) == [[2, 5], [2, 5]]  # five steps, as it began, then three
        kept = environments.state()
        environments.set("length", 2)
        assert lengths(environments, 2) == [[], []]
        environments.restore(kept)
        environments.start(environments.seeds)
        assert lengths(environments, 6) == [[3, 6], [3, 6]]
    finally:
        environments.close()


def test_what_never_changes_is_not_in_the_state() -> None:
    environments = make_environments(TINY, 1, Numbers)
    environments.reset()
    assert "changed" not in environments.state()


def test_what_cannot_be_changed_is_said() -> None:
    def vector() -> Any:
        return gymnasium.vector.SyncVectorEnv([Tiny], autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)

    with pytest.raises(UsageError, match="setting 'length' cannot be changed, because polyak does not make"):
        make_environments(vector, 1, Numbers).set("length", 3)
    made = make_environments(TINY, 1, Numbers)
    with pytest.raises(UsageError, match="cannot be changed"):
        made.beside(Numbers).set("length", 3)
    with pytest.raises(UsageError, match=r"environment's settings: length is .*, but must be a number"):
        made.set("length", object())


class Other(Tiny):
    def __init__(self, observed: int | None) -> None:
        super().__init__()
        if observed is not None:
            self.observation_space = spaces.Box(-10.0, 10.0, (observed,), np.float32)


class Fixed(Tiny):
    def __init__(self) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("environment", "name", "said"),
    [
        (TINY, "lenght", "it cannot be made with {'lenght': 3}: environment .* takes no argument 'lenght'"),
        (Fixed, "length", "takes no argument 'length': write one that does, as in lambda length="),
        (lambda observed=None: Other(observed), "observed", "it has the spaces"),
    ],
)
def test_what_it_cannot_be_made_with_ends_the_run_there(environment: Callable[..., Any], name: str, said: str) -> None:
    environments = make_environments(environment, 1, Numbers)
    environments.reset()
    before = environments.state()
    environments.set(name, 3)
    with pytest.raises(TrainingError, match=f"raised RuntimeError after 4 environment steps: .*{said}"):
        lengths(environments, 5)
    assert environments.state()["streams"] == before["streams"]
