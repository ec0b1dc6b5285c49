"""Learning from what was recorded before: read and checked, mixed into batches, kept by the run; or from it alone."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import polyak
import tiny_cli
from polyak.errors import UsageError
from polyak.experience.batches import UNIFORM, Batches, Share, accumulated
from polyak.experience.choosers import Uniform
from polyak.experience.datasets import of_arrays
from polyak.experience.replay import Replay
from polyak.run.checkpoints import Checkpoints
from polyak.run.checkpoints.manifest import MANIFEST_NAME, read
from polyak.settings.demonstrated import Demonstrations
from polyak.types import Spec, Transitions

OFFLINE = {**tiny_cli.SMALL, "steps": 0, "offline_updates": 40}
TINY: dict[str, Any] = {"backend": "torch", "probe": False, "threads": 1, "fast": False}
SPEC = Spec((2,), (1,), np.array([-1.0], np.float32), np.array([3.0], np.float32))


def columns(count: int = 12, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Episodes of four steps each, as Tiny shows and takes them."""
    generator = np.random.default_rng(seed)
    shown = generator.normal(size=(count // 4, 5, 2)).astype(np.float32)
    return {
        "observation": shown[:, :-1].reshape(count, 2),
        "action": generator.uniform(-1.0, 3.0, (count, 1)),
        "reward": np.arange(count, dtype=float),
        "next_observation": shown[:, 1:].reshape(count, 2),
        "terminated": np.arange(count) % 8 == 7,
        "truncated": np.arange(count) % 8 == 3,
    }


def full(given: Any, spec: Spec = SPEC) -> Replay:
    return of_arrays(Demonstrations.of("demonstrations", given), spec)


def held(replay: Replay) -> Transitions:
    numbers = replay.oldest, replay.added
    return replay.layout.unpacked(replay.records(*numbers), replay.episodes(*numbers))


# Read and checked


def test_arrays_are_taken_as_the_environment_has_them() -> None:
    given = columns()
    made = held(full(given))
    np.testing.assert_allclose(made.action[:, 0], (given["action"][:, 0] + 1) / 2 - 1, atol=1e-6)
    np.testing.assert_array_equal(made.observation, given["observation"])
    np.testing.assert_array_equal(made.next_observation, given["next_observation"])
    np.testing.assert_array_equal(made.terminated, given["terminated"])
    np.testing.assert_array_equal(made.truncated, given["truncated"])
    np.testing.assert_array_equal(made.episode, np.arange(12) // 4)


def test_an_episode_ends_where_what_follows_begins_elsewhere_or_as_it_is_said() -> None:
    given = columns() | {"terminated": np.zeros(12), "truncated": np.zeros(12)}
    np.testing.assert_array_equal(held(full(given)).episode, np.arange(12) // 4)
    given["episode"] = np.repeat([7, 3], 6)
    np.testing.assert_array_equal(held(full(given)).episode, np.repeat([1, 0], 6))


def test_transitions_are_taken_as_polyak_has_them() -> None:
    made = held(full(columns()))
    np.testing.assert_array_equal(held(full(made)).action, made.action)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("observation", np.zeros((12, 3)), r"observation has the shape \[12, 3\]; right is \[12, 2\]"),
        ("next_observation", np.full((12, 2), np.nan), "next_observation of transition 0 is not finite"),
        (
            "action",
            np.full((12, 1), 3.5),
            r"action of transition 0 is 3.5 at place 0, outside \[-1, 3\]; 12 are outside",
        ),
        ("action", np.zeros((12, 2)), r"action has the shape \[12, 2\]; right is \[12, 1\]"),
        ("reward", np.array([0.0] * 11 + [np.inf]), "reward of transition 11 is not finite"),
        ("reward", np.zeros(0), "observation has the shape"),
        ("terminated", np.full(12, 2), "terminated has 2; right are True and False"),
        ("terminated", ["no"] * 12, "terminated has <U2 in it; right are numbers"),
        ("reward", 3.0, "reward of the arrays is no array"),
    ],
    ids=["size", "nan", "bounds", "action-size", "infinite", "none", "flag", "text", "number"],
)
def test_what_does_not_fit_is_said_in_a_line(name: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        full(columns() | {name: value})


def test_an_action_that_rounding_put_outside_is_taken() -> None:
    given = columns()
    given["action"][0] = 3.0 + 1e-6
    assert held(full(given)).action[0] == 1.0


def test_a_dict_observation_is_taken_by_name() -> None:
    parts = ["dict", [["goal", ["array", [1], "float64"]], ["place", ["choices", [3], [5], []]]]]
    spec = dataclasses.replace(SPEC, observation_shape=(4,), observation_parts=parts)
    shown = {"place": np.array([5, 6, 7] * 4), "goal": np.arange(12.0)[:, None], "more": np.zeros(12)}
    given = columns() | {"observation": shown, "next_observation": shown}
    made = held(full(given, spec)).observation
    np.testing.assert_array_equal(made[:4], [[0, 1, 0, 0], [1, 0, 1, 0], [2, 0, 0, 1], [3, 1, 0, 0]])
    for wrong, said in (
        ({"place": shown["place"]}, "no 'goal', which the environment shows"),
        (np.zeros((12, 4)), r"no parts by name; the environment shows \['goal', 'place'\]"),
        (shown | {"place": np.full(12, 8)}, "none of its .3. choices"),
    ):
        with pytest.raises(UsageError, match=said):
            full(given | {"observation": wrong}, spec)


def test_memory_is_compared_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polyak.experience.datasets.memory_free", lambda: 100)
    with pytest.raises(
        UsageError, match=r"the 12 transitions of the arrays need .*, but 100 bytes are free: at most 2"
    ):
        full(columns())


@pytest.mark.parametrize("given", [3, "", {"observation": [1]}, columns() | {"weight": [1]}], ids=range(4))
def test_what_are_no_demonstrations_is_said_at_once(given: Any) -> None:
    with pytest.raises(UsageError, match=r"demonstrations.* must be a path"):
        polyak.train("sac", "Pendulum-v1", demonstrations=given)


# Mixed


def test_a_batch_has_its_share_of_both_in_order_from_one_stream() -> None:
    own, shown = full(columns(seed=1)), full(columns(seed=2))
    for n_step in (1, 3):
        made = Batches(own, 0.9, n_step, demonstrated=Share(shown, UNIFORM, 3)).sample(np.random.default_rng(4), 5, 8)
        generator, uniform = np.random.default_rng(4), Uniform()
        for replay, rows, part in ((own, 5, slice(0, 5)), (shown, 3, slice(5, 8))):
            chosen = uniform.choose(replay, generator, 5, rows)
            np.testing.assert_array_equal(made.records[:, part], accumulated(replay, chosen, 0.9, n_step).records)
        assert not made.weighted


def test_several_steps_of_a_demonstration_stay_within_its_episode() -> None:
    replay = full(columns())
    numbers = np.arange(12)
    chosen = Uniform().choose(replay, np.random.default_rng(0), 1, 12)._replace(numbers=numbers)
    made = accumulated(replay, chosen, 1.0, 3)
    ends = (numbers // 4 + 1) * 4
    expected = [sum(range(number, min(number + 3, end))) for number, end in zip(numbers, ends, strict=True)]
    np.testing.assert_array_equal(made.reward, expected)


def test_the_share_is_to_the_nearest_row_and_never_all_or_nothing() -> None:
    config = polyak.algorithms.algorithm("sac").Config(batch_size=10, demonstration_fraction=0.26)
    assert config.demonstrated(10) == 3
    for fraction in (0.01, 0.99):
        with pytest.raises(UsageError, match=f"demonstration_fraction {fraction} of batch_size 8 is . rows"):
            polyak.train(
                "sac",
                tiny_cli.Tiny,
                demonstrations=columns(),
                demonstration_fraction=fraction,
                **TINY,
                **tiny_cli.SMALL,
            )


# In a run


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> polyak.Run:
    """A run whose ring has been passed, so that its oldest transitions are gone."""
    settings = {**tiny_cli.SMALL, "replay_size": 30}
    return polyak.train("sac", tiny_cli.TINY, run_dir=tmp_path_factory.mktemp("earlier"), **TINY, **settings)


def test_another_runs_replay_is_read_without_its_algorithm(earlier: polyak.Run, tmp_path: Path) -> None:
    folder = tmp_path / "copied"
    shutil.copytree(earlier.folder, folder)
    told = json.loads((folder / "settings.json").read_text()) | {"algorithm": "nobodys.algorithm"}
    (folder / "settings.json").write_text(json.dumps(told))
    run = polyak.train("td3", tiny_cli.TINY, demonstrations=folder, run_dir=tmp_path, **TINY, **tiny_cli.SMALL)
    made = newest(run)
    kept = Checkpoints(run.checkpoints).demonstrations(made, polyak_spec(run))
    theirs = newest(earlier)
    assert kept is not None
    assert (kept.size, theirs.added) == (30, 40)
    assert run.settings["demonstrations"] == str(folder)
    segment = made.demonstrations[0].file
    assert segment.name == "demonstrations-10-000001.safetensors"
    files = [path for path in run.checkpoints.iterdir() if path.name.startswith("demonstrations")]
    assert [path.name for path in files] == [segment.name]


def test_a_run_of_another_environment_is_refused(earlier: polyak.Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="was trained where observations and actions are 2 and 1 numbers"):
        polyak.train("sac", "Pendulum-v1", demonstrations=earlier, run_dir=tmp_path, **TINY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("settings", [tiny_cli.SMALL, OFFLINE], ids=["online", "offline"])
def test_a_run_goes_on_bit_for_bit_without_what_it_was_shown(settings: dict[str, Any], tmp_path: Path) -> None:
    def train(directory: str, observer: Any = None) -> polyak.Run:
        given: dict[str, Any] = {"demonstrations": columns(), "n_step": 2, "run_dir": tmp_path / directory}
        return polyak.train("td3", tiny_cli.TINY, observer=observer, checkpoint_every=8, **given, **TINY, **settings)

    whole = train("whole")
    with pytest.raises(ZeroDivisionError):
        train("broken", Breaks())
    (folder,) = (tmp_path / "broken").glob("*/*/*")
    assert json.loads((folder / "settings.json").read_text())["demonstrations"] == "<arrays>"
    resumed = polyak.resume(folder)
    assert (resumed.folder / "policy.safetensors").read_bytes() == (whole.folder / "policy.safetensors").read_bytes()
    one, other = newest(whole), newest(resumed)
    assert one.files["learner"].sha256 == other.files["learner"].sha256
    assert one.demonstrations[0].file.sha256 == other.demonstrations[0].file.sha256
    returns = [[record["eval/return"] for record in run.metrics] for run in (whole, resumed)]
    assert returns[0] == returns[1]


def test_damaged_demonstrations_are_found(earlier: polyak.Run, tmp_path: Path) -> None:
    run = polyak.train("td3", tiny_cli.TINY, demonstrations=earlier, run_dir=tmp_path, **TINY, **tiny_cli.SMALL)
    (file,) = run.checkpoints.glob("demonstrations-*")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"{file.name} is damaged"):
        polyak.resume(run, steps=60)
    file.unlink()
    with pytest.raises(UsageError, match=f"there is no file .*{file.name}"):
        polyak.resume(run, steps=60)


# Without steps


def test_offline_updates_are_what_is_counted(tmp_path: Path) -> None:
    run = polyak.train("td3", tiny_cli.TINY, demonstrations=columns(), run_dir=tmp_path, **TINY, **OFFLINE)
    assert [(record["step"], record["learner/updates"]) for record in run.metrics] == [(20, 20), (40, 40)]
    assert not any(name.startswith("train/") for record in run.metrics for name in record)
    made = newest(run)
    assert (made.step, made.added, made.segments) == (40, 0, ())
    assert made.state["environments"]["steps"] == 0
    resumed = polyak.resume(run, steps=60)
    assert resumed.metrics[-1]["step"] == 60
    assert resumed.settings["settings"]["offline_updates"] == 60
    assert resumed.settings["settings"]["steps"] == 0


def test_rates_fall_over_the_offline_updates() -> None:
    kind = polyak.algorithms.algorithm("td3").Config
    config = kind(steps=0, offline_updates=1000, learning_rate_schedule="linear")
    assert (config.updates, config.optimizer("critic_1").horizon, config.optimizer("actor").horizon) == (
        1000,
        1000,
        500,
    )


def test_offline_statistics_are_those_of_the_data(tmp_path: Path) -> None:
    given = columns(24)
    asked: dict[str, Any] = {**TINY, **OFFLINE, "normalize_observations": True, "normalize_rewards": True}
    run = polyak.train("td3", tiny_cli.TINY, demonstrations=given, run_dir=tmp_path, **asked)
    firsts = given["observation"][np.arange(24) % 4 == 0]
    seen = np.concatenate([firsts, given["next_observation"]]).astype(np.float64)
    normalizer = run.policy.normalizer
    assert normalizer is not None
    np.testing.assert_allclose(normalizer.mean, seen.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(normalizer.scale, 1 / seen.std(axis=0), rtol=1e-5)
    assert run.metrics[0]["learner/reward_scale"] > 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": 0}, "steps is 0, but must be at least 1, or 0 with offline_updates"),
        ({"steps": 40, "offline_updates": 40}, "steps is 40, but must be 0, because offline_updates is 40"),
        ({"steps": 0, "offline_updates": 42}, r"offline_updates is 42, but must be a multiple of update_every \(4\)"),
        ({"steps": 0, "offline_updates": 40, "demonstrations": None}, "there is nothing to learn from"),
        ({"steps": 0, "offline_updates": 40, "collectors": 2}, "a run of offline_updates takes no steps"),
    ],
    ids=["none", "both", "bursts", "nothing", "collectors"],
)
def test_what_a_run_without_steps_cannot_have_is_said(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    asked: dict[str, Any] = {**TINY, **tiny_cli.SMALL, "demonstrations": columns(), **settings}
    with pytest.raises(UsageError, match=said):
        polyak.train("td3", tiny_cli.TINY, run_dir=tmp_path, **asked)
    assert not list(tmp_path.iterdir())


def test_a_report_says_that_updates_were_counted(tmp_path: Path) -> None:
    run = polyak.train("td3", tiny_cli.TINY, demonstrations=columns(), run_dir=tmp_path, **TINY, **OFFLINE)
    from polyak.report.page import write_report

    page = write_report([run], tmp_path / "report.html").read_text()
    assert "updates, without environment steps" in page
    assert "40 of 40 updates" in page


class Breaks:
    """Ends a run at its first evaluation."""

    def started(self, progress: Any) -> None:
        pass

    def epoch_ended(self, progress: Any) -> None:
        _ = 1 / 0

    def ended(self, progress: Any) -> None:
        pass


def newest(run: polyak.Run) -> Any:
    return max(
        (read(path) for path in run.checkpoints.iterdir() if MANIFEST_NAME.fullmatch(path.name)),
        key=lambda made: made.serial,
    )


def polyak_spec(run: polyak.Run) -> Spec:
    return Spec.from_json(run.settings["spaces"])
