"""The queue of learning runs: its order, what was cut off, whole results, equal settings, and the page's numbers."""

import importlib
import json
import shutil
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import h5py
import numpy as np
import pytest

import polyak
from polyak.algorithms import algorithm
from polyak.settings import presets
from polyak.settings.presets import verified as known
from polyak.system.locking import locked
from tiny_cli import untrained_run

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
if not BENCHMARKS.is_dir():
    pytest.skip("the source distribution has no benchmarks", allow_module_level=True)
with pytest.MonkeyPatch.context() as patched:
    patched.syspath_prepend(BENCHMARKS)
    cases, equal, store, runs, numbers, compared, experience, successors, scales, verified, which, learning, pages = (
        importlib.import_module(name)
        for name in (
            *("curves.cases", "curves.equal", "curves.store", "curves.runs", "curves.numbers", "curves.compared"),
            *("curves.experience", "curves.successors", "curves.scales", "curves.verified", "curves.which"),
            *("learning", "learning_pages"),
        )
    )


def result(*returns: float, **more: Any) -> dict[str, Any]:
    """A result that was measured every ten steps."""
    curve = [[10 * (number + 1), 1.0 + number, value] for number, value in enumerate(returns)]
    return {"command": "polyak train", "versions": {"python": "3"}, "curve": curve, **more}


@pytest.fixture
def places(tmp_path: Path) -> Any:
    return runs.Places(store.Store(tmp_path / "results"), tmp_path / "runs", sys.executable)


# The order


def test_every_seed_has_both_libraries_before_the_next_and_cheap_environments_come_first() -> None:
    names = [training.name for training in cases.trainings("equal")]
    assert names[:5] == [
        "equal/td3-Pendulum-v1-polyak-0",
        "equal/td3-Pendulum-v1-Stable-Baselines3-0",
        "equal/ddpg-Pendulum-v1-polyak-0",
        "equal/ddpg-Pendulum-v1-Stable-Baselines3-0",
        "equal/td3-Pendulum-v1-polyak-1",
    ]
    order = list(dict.fromkeys(training.case.environment for training in cases.trainings("equal")))
    assert order == ["Pendulum-v1", "InvertedDoublePendulum-v5", "Hopper-v5", "HalfCheetah-v5"]
    groups = list(dict.fromkeys(block.cases[0].group for block in cases.BLOCKS))
    assert groups == [
        "experience",
        "successors",
        "walker",
        "book",
        "tuned",
        "equal",
        "published",
        "presets",
        "defaults",
    ]


def test_a_part_of_the_queue_is_taken_by_its_name() -> None:
    names = [training.name for training in cases.trainings(part="successors")]
    assert names[:4] == [f"successors/{name}-HalfCheetah-v5-0" for name in ("sac", "tqc", "crossq")] + [
        "successors/sac-HalfCheetah-v5-1"
    ]
    assert all(name.startswith("successors/") for name in names)
    assert cases.trainings(part="walker", only="tqc") == cases.trainings("walker/tqc")
    assert set(cases.GROUPS) == {training.case.group for training in cases.trainings()}


def test_no_two_trainings_have_one_name() -> None:
    names = [training.name for training in cases.trainings()]
    assert len(set(names)) == len(names)


# Equal settings


@pytest.mark.parametrize(
    ("algorithm", "environment", "model", "noise"),
    [
        ("sac", "Hopper-v5", {"learning_rate": 3e-4, "ent_coef": "auto_1.0", "gamma": 0.99}, None),
        ("td3", "Pendulum-v1", {"learning_rate": 1e-3, "policy_delay": 2, "gamma": 0.98, "buffer_size": 200_000}, 0.1),
        ("ddpg", "InvertedDoublePendulum-v5", {"learning_rate": 1e-3, "gamma": 0.99, "buffer_size": 1_000_000}, 0.1),
    ],
)
def test_the_peers_arguments_are_polyaks_settings(
    algorithm: str, environment: str, model: dict[str, Any], noise: float | None
) -> None:
    found = equal.peer_options(algorithm, equal.settings(equal.ZOO, algorithm, environment))
    shared = {"learning_starts": 10_000, "batch_size": 256, "tau": 0.005, "train_freq": 1, "gradient_steps": 1}
    assert found["model"].items() >= {**shared, **model}.items()
    assert found.get("noise") == noise
    assert found["model"]["policy_kwargs"] == {"net_arch": [256, 256] if algorithm == "sac" else [400, 300]}


@pytest.mark.parametrize(
    ("name", "value"), [("adam_beta_1", 0.5), ("lag", 1), ("critic_learning_rate", 1e-4), ("update_after", 10_000)]
)
def test_what_the_peer_would_do_otherwise_is_refused(name: str, value: object) -> None:
    values = equal.settings(equal.ZOO, "sac", "Hopper-v5") | {name: value}
    with pytest.raises(ValueError, match=f"{name} is {value}: Stable-Baselines3 would have"):
        equal.peer_options("sac", values)


# Results


def test_a_result_is_read_as_it_was_written(places: Any) -> None:
    places.results.write("equal/one", result(-1.0, -2.5))
    assert places.results.read("equal/one") == result(-1.0, -2.5)
    assert [path.name for path in (places.results.folder / "equal").iterdir()] == ["one.json"]
    assert places.results.read("equal/two") is None


@pytest.mark.parametrize("keep", [0, 40, -3])
def test_a_half_written_result_is_said_and_run_again(
    places: Any, keep: int, capsys: pytest.CaptureFixture[str]
) -> None:
    places.results.write("one", result(-1.0))
    path = places.results.path("one")
    path.write_text(path.read_text()[:keep])
    assert places.results.read("one") is None
    assert f"{path} is no whole result" in capsys.readouterr().err


# Work


def runner(
    done: list[str], failing: str = "", error: type[Exception] = RuntimeError
) -> Callable[[Any, Any], dict[str, Any]]:
    """What trains, in place of polyak and of its peer."""

    def run(training: Any, places: Any) -> dict[str, Any]:
        done.append(training.name)
        if training.name == failing:
            raise error("out of luck")
        return result(-1.0)

    return run


@pytest.mark.parametrize("error", [RuntimeError, polyak.UsageError])
def test_the_next_that_is_neither_done_nor_running_is_run(
    places: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: type[Exception]
) -> None:
    chosen, done = cases.trainings("equal/td3-Pendulum")[:5], list[str]()
    names = [training.name for training in chosen]
    places.results.write(names[0], result(-1.0))
    running = places.folder(chosen[1])
    running.mkdir(parents=True)
    monkeypatch.setattr(runs, "ours", runner(done, names[2], error))
    monkeypatch.setattr(runs, "theirs", runner(done))
    with locked(running):
        assert [runs.state(training, places) for training in chosen[:3]] == ["done", "running", "left"]
        assert runs.work(chosen, places) == [names[2]]
    assert done == names[2:]  # the one that failed is not tried again at once
    assert "out of luck" in capsys.readouterr().out
    assert [runs.state(training, places) for training in chosen] == ["done", "cut off", "cut off", "done", "done"]
    assert runs.work(chosen, places) == [names[2]]
    assert done[3:] == [names[1], names[2]]


def test_checkpoints_go_once_the_result_is_there(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    [training, *_] = cases.trainings("equal/td3-Pendulum")
    run = places.folder(training) / "Pendulum-v1" / "td3" / "now"
    (run / "checkpoints" / "1").mkdir(parents=True)
    (run / "policy.safetensors").touch()
    monkeypatch.setattr(runs, "ours", runner([]))
    runs.work([training], places)
    assert [path.name for path in run.iterdir()] == ["policy.safetensors"]


def test_a_run_that_was_cut_off_goes_on_and_one_that_ended_does_not(
    places: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    training, called = cases.Training(cases.Case("presets", "ddpg", "tiny"), 3), list[tuple[str, ...]]()
    folder = places.folder(training)
    run = untrained_run(folder, steps=24, steps_per_epoch=8)

    def polyak(*arguments: str, log: Path) -> str:
        called.append(arguments)
        return json.dumps({"mean": 1.0, "std": 2.0}) if arguments[0] == "evaluate" else f"{run.folder}\n"

    monkeypatch.setattr(runs, "polyak", polyak)
    at_once = untrained_run(folder, steps=24, steps_per_epoch=8)  # killed before there was a checkpoint
    shutil.rmtree(at_once.checkpoints)
    (at_once.folder / "ending.json").unlink()
    at_once.metrics_file.unlink()
    found = runs.ours(training, places)
    assert [arguments[0] for arguments in called] == ["evaluate"]
    assert [point[0] for point in found["curve"]] == [8, 16, 24]
    assert (found["fresh_mean"], found["fresh_std"], found["fresh_episodes"], found["quiet"]) == (1.0, 2.0, 100, False)
    assert found["command"] == "polyak train ddpg tiny --seed 3 --threads 1"
    assert found["settings"]["steps"] == 24
    lines = run.metrics_file.read_text().splitlines(keepends=True)
    run.metrics_file.write_text("".join(lines[:-1]))
    (run.folder / "ending.json").unlink()  # as after SIGKILL
    runs.ours(training, places)
    assert called[1] == ("resume", str(run.folder.absolute()))
    other = cases.Training(training.case, 4)  # in whose folder there is no run
    places.folder(other).mkdir()
    runs.ours(other, places)
    assert called[3][:2] == ("train", "ddpg")


def test_the_peers_curve_is_what_its_process_says_and_its_pieces_are_counted(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    [training] = cases.trainings("equal/td3-Pendulum-v1-Stable-Baselines3-4")
    folder, asked = places.folder(training), list[dict[str, Any]]()
    folder.mkdir(parents=True)

    @contextmanager
    def trainer(name: str, job: dict[str, Any], peers: str, **options: Any) -> Generator[Any]:
        asked.append({**job, **options})
        points = [[str(step), "2.04", "-150.004"] for step in range(1_000, 20_001, 1_000)]
        yield SimpleNamespace(answer=iter([['{"python":', '"3"}'], *points]).__next__)

    monkeypatch.setattr(runs, "trainer", trainer)
    first = runs.theirs(training, places)
    assert first["versions"] == {"python": "3"}
    assert (len(first["curve"]), first["curve"][0], first["pieces"]) == (20, [1_000, 2.0, -150.0], 1)
    assert asked[0].items() >= {"seed": 4, "look": 1_000, "episodes": 10, "limit": 20_000, "noise": 0.1}.items()
    kept = folder / "kept" / "1000"
    kept.mkdir(parents=True)
    assert asked[0]["curve"] == str(kept.parent)
    assert runs.theirs(training, places)["pieces"] == 2
    runs.clear(folder)
    assert not kept.parent.exists()


def test_the_list_says_what_is_done_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store.Store(tmp_path / "results").write("equal/sac-Hopper-v5-polyak-0", result(-1.0, 12.0))
    folders = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    monkeypatch.setattr(sys, "argv", ["learning.py", "--list", "--only", "equal/sac-Hopper", *folders])
    assert learning.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["done", "equal/sac-Hopper-v5-polyak-0", "12.0", "after", "20", "steps"]
    assert lines[1] == "left     equal/sac-Hopper-v5-Stable-Baselines3-0"
    assert lines[-1] == "1 done, 5 left"
    assert not (tmp_path / "runs").exists()


# Numbers


def done(*results: dict[str, Any], wanted: int = 3) -> Any:
    return numbers.Done(cases.Case("equal", "sac", "Hopper-v5", library="polyak"), wanted, dict(enumerate(results)))


def test_a_seeds_score_is_the_mean_of_its_last_evaluations() -> None:
    side = done(result(0.0, 1.0, 2.0, 6.0), result(0.0, 5.0))
    assert side.scores.tolist() == [3.0, 2.5]
    assert side.ends.tolist() == [[40.0, 4.0], [20.0, 2.0]]
    steps, values = side.curves()
    assert steps.tolist() == [10.0, 20.0]
    assert values.tolist() == [[0.0, 1.0], [0.0, 5.0]]
    assert numbers.seeds_told([side]) == "2 of 3"


def test_the_difference_is_that_of_the_interquartile_means_and_both_sides_are_resampled() -> None:
    ours, theirs = np.array([0.0, 10.0, 20.0, 1_000.0]), np.array([5.0, 5.0, 5.0])
    middle, low, high = numbers.difference(ours, theirs)
    assert middle == 15.0 - 5.0
    assert -5.0 <= low < 10.0 < high <= 995.0
    back, under, over = numbers.difference(theirs, ours)
    assert (back, round(float(under), -1), round(float(over), -1)) == (-10.0, round(-high, -1), round(-low, -1))
    flat = numbers.difference(np.full((3, 2), 4.0), np.full((5, 2), 1.0))
    assert [each.tolist() for each in flat] == [[3.0, 3.0]] * 3


def test_one_seed_has_no_interval() -> None:
    assert numbers.told(np.array([1234.4])) == "1,234"
    assert numbers.told(np.array([2.0, 2.0, 2.0]), 1) == "2.0 (2.0 to 2.0)"
    assert numbers.told(np.zeros(0)) == ""


def test_seeds_that_learn_nothing_are_counted_in_both_libraries(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    for library, values in (("polyak", (20.0, 400.0)), ("Stable-Baselines3", (500.0,))):
        for seed, value in enumerate(values):
            points = [[10_000, 1.0, 70.0], [15_000, 2.0, value], [17_500, 3.0, 20.0]]
            made.write(f"equal/td3-InvertedDoublePendulum-v5-{library}-{seed}", {**result(0.0), "curve": points})
    assert "learn nothing" not in compared.compared(made)  # as long as all of one library learn
    rows = [{"library": "Stable-Baselines3", "seed": seed, "return": 25.0} for seed in (8, 5)]
    (tmp_path / "saturation.json").write_text(json.dumps({"rows": rows}))
    text = compared.compared(made)
    assert "After 15,000 steps\n1 of 2 seeds of polyak's (0) and\n2 of 3 seeds of Stable-Baselines3's (5, 8)\n" in text


def test_the_page_compares_what_both_have_and_says_what_has_not_run(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    for seed, value in enumerate((100.0, 120.0, 140.0)):
        made.write(f"equal/sac-Hopper-v5-polyak-{seed}", result(0.0, value, value, value))
    made.write("equal/sac-Hopper-v5-Stable-Baselines3-0", result(0.0, 90.0, 90.0, 90.0))
    made.write("equal/sac-HalfCheetah-v5-polyak-0", result(0.0))
    text = compared.compared(made)
    assert "| SAC, Hopper-v5 | 40 | 3, 1 of 3 | 120 (100 to 140) | 90 | 30 |  |" in text
    assert "HalfCheetah" not in text
    assert compared.published(made) == ""
    made.write("published/sac-Hopper-v5-1", result(0.0, 3000.0, 3000.0, 3000.0))
    assert "| Hopper-v5 | 1 of 3 | 3,000 | 1,104 ± 240 |  |  | 120 (100 to 140) | 3 |" in compared.published(made)
    made.write("successors/sac-Hopper-v5-2", result(0.0, 900.0, 900.0, 900.0))
    assert "| 1,104 ± 240 | 900 | 1 of 3 | 120 (100 to 140) | 3 |" in compared.published(made)
    missing = pages.left(made)
    assert f"7 of {len(cases.trainings())} trainings are done" in missing
    assert "- equal, Hopper-v5: 2 of 6" in missing
    compared.draw(made, tmp_path / "picture.svg")
    drawn = (tmp_path / "picture.svg").read_text()
    assert "SAC, Hopper-v5" in drawn
    assert "Stable-Baselines3 (1 of 3)" in drawn


def test_a_fall_is_an_evaluation_much_below_the_one_before() -> None:
    assert pages.tables.falls(result(0.0, 150.0, 40.0, -70.0, 20.0, -80.0)) == 2


def test_the_sites_page_is_that_of_its_results() -> None:
    docs = BENCHMARKS.parent / "docs"
    assert (docs / "results.md").read_text() == pages.page(store.Store(docs / "results" / "learning"))


# Presets


def test_what_polyak_says_is_verified_is_what_the_results_make() -> None:
    root = BENCHMARKS.parent
    made = verified.text(store.Store(root / "docs" / "results" / "learning"))
    file = root / "src" / "polyak" / "settings" / "presets" / known.FILE
    assert file.read_text() == made, "python benchmarks/learning_pages.py makes it"


def trained(command: str, *returns: float, **changed: Any) -> dict[str, Any]:
    """A result of Pendulum's preset for DDPG, or of what was changed."""
    values = presets.load("Pendulum-v1", algorithm("ddpg"), "Pendulum-v1").values | changed
    told = {"settings": values, "fresh_mean": -150.0, "fresh_episodes": 100}
    return result(*returns, **told) | {"command": f"polyak train ddpg Pendulum-v1 {command} --threads 1"}


def test_three_seeds_of_a_preset_as_it_is_verify_it(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    for seed in (0, 1):
        made.write(f"tuned/ddpg-Pendulum-v1-{seed}", trained(f"--seed {seed} --stop-at-return -200", 1.0))
    assert verified.entries(made) == []
    third = "tuned/ddpg-Pendulum-v1-2"
    spoiled = [
        trained("--seed 2 --stop-at-return -200", 1.0, batch_size=128),
        trained("--seed 2 --stop-at-return -200", 1.0, a_setting_of_old=1),
        trained("--seed 2 --stop-at-return -200 --wrapper a:B", 1.0),
        trained("--seed 2 --stop-at-return -200 --preset mine.toml", 1.0),
        {key: value for key, value in trained("--seed 2", 1.0).items() if key != "settings"},
    ]
    for each in spoiled:
        made.write(third, each)
        assert verified.entries(made) == [], each["command"]
    longer = trained("--seed 2 --stop-at-return -200 --evaluation-episodes 50", 1.0, steps=7, evaluation_episodes=50)
    made.write(third, longer)
    [entry] = verified.entries(made)
    assert (entry.seeds, entry.returns, entry.steps, entry.minutes) == ((0, 1, 2), (-150.0,) * 3, (10,) * 3, (0.0,) * 3)
    assert [command.split()[4:6] for command in entry.commands] == [["--seed", "N"]] * 2
    assert known.fingerprint(verified.preset_config(algorithm("ddpg"), "Pendulum-v1", "Pendulum-v1")) == entry.settings


def test_a_command_says_what_its_preset_then_had(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    changed = {"batch_size": 128, "exploration_hold": 8}
    for seed, told in enumerate(
        (trained("--seed 0", 1.0, steps=7), trained("--seed 1 --batch-size 128", 1.0, **changed))
    ):
        made.write(f"tuned/ddpg-Pendulum-v1-{seed}", told)
    lines = pages.commands(made).splitlines()
    assert lines[-3:-1] == [
        "polyak train ddpg Pendulum-v1 --seed N --threads 1",
        "polyak train ddpg Pendulum-v1 --seed N --batch-size 128 --threads 1  # exploration_hold 8",
    ]
    assert "After `#` stands what the preset then had" in lines[2]


def test_a_presets_minutes_are_those_of_one_processor(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    for seed, processor in enumerate(("slow", "quick", "quick")):
        curve = [[10, 600.0 if processor == "slow" else 60.0, 1.0]]
        told = trained(f"--seed {seed}", 1.0) | {"processor": processor, "curve": curve}
        made.write(f"tuned/ddpg-Pendulum-v1-{seed}", told)
    [entry] = verified.entries(made)
    assert (entry.seeds, entry.minutes, entry.processor) == ((0, 1, 2), (1.0, 1.0), "quick; slow")


def test_of_several_commands_the_one_that_says_most_verifies(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    settings = {"settings": presets.load("Hopper-v5", algorithm("td3"), "Hopper-v5").values}
    told = {**settings, "fresh_mean": 1.0, "fresh_episodes": 10}
    for seed in range(3):
        for group, flags, returns in (
            ("presets", "--steps 20", (1.0, 2.0)),
            ("tuned", "--stop-at-return 9", (1.0,) * 3),
        ):
            command = f"polyak train td3 Hopper-v5 --seed {seed} {flags}"
            made.write(f"{group}/{seed}", result(*returns, **told) | {"command": command})
    case = cases.Case("presets", "td3", "Hopper-v5")
    all_of = [
        SimpleNamespace(case=case, seed=seed, name=f"{group}/{seed}")
        for group in ("presets", "tuned")
        for seed in range(3)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verified, "trainings", lambda: all_of)
        [entry] = verified.entries(made)
    assert entry.commands == ("polyak train td3 Hopper-v5 --seed N --steps 20",)


def test_demonstrations_are_told_by_their_name_and_not_by_this_machines_folder(
    places: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, called = cases.Training(cases.Case("presets", "rlpd", "tiny", shown="presets/one-0"), 0), list[Any]()
    run = untrained_run(places.folder(training), steps=8, steps_per_epoch=8)
    shutil.rmtree(run.checkpoints)
    (run.folder / "ending.json").unlink()
    run.metrics_file.unlink()
    other = untrained_run(places.runs / "elsewhere", steps=8, steps_per_epoch=8)
    data = places.runs.absolute() / "presets" / "one-0-data-v0"
    (data / "data").mkdir(parents=True)
    with h5py.File(data / "data" / "main_data.hdf5", "w") as file:
        for number, rewards in enumerate(([1.0, 2.0], [5.0])):
            file[f"episode_{number}/rewards"] = rewards
    monkeypatch.setattr(runs, "recorded", lambda name, places: data)

    def polyak(*arguments: str, log: Path) -> str:
        called.append(arguments)
        return json.dumps({"mean": 1.0, "std": 2.0}) if arguments[0] == "evaluate" else f"{other.folder}\n"

    monkeypatch.setattr(runs, "polyak", polyak)
    found = runs.ours(training, places)
    assert found["command"].endswith("--demonstrations one-0-data-v0")
    assert str(data) in called[0]
    assert found["shown"] == {"episodes": 2, "mean": 4.0, "std": 1.0}


# Which algorithm


def test_the_sites_page_of_algorithms_is_that_of_its_results() -> None:
    docs = BENCHMARKS.parent / "docs"
    assert (docs / "which.md").read_text() == which.page(store.Store(docs / "results" / "learning"))


def test_with_nothing_run_the_page_says_so(tmp_path: Path) -> None:
    text = which.page(store.Store(tmp_path))
    assert "No environment has had two algorithms" in text
    assert all(task.environment in text.split("**Not run yet, so that nothing is known:**")[1] for task in which.TASKS)
    assert "**None of these has run yet.**" in text


def attempt(algorithm: str, *curves: list[tuple[int, float, float]], stops: float | None = None) -> Any:
    return which.Tried("A", algorithm, curves, stops)


def to(steps: int, seconds: float, wanted: float = 5.0) -> list[tuple[int, float, float]]:
    """A curve that comes to a return after so many steps and seconds."""
    return [(1_000, 1.0, 0.0), (steps, seconds, wanted)]


def test_the_first_is_whoever_comes_soonest_to_the_return_and_who_is_not_clearly_behind() -> None:
    soon = attempt("sac", to(2_000, 90.0), to(3_000, 95.0), to(4_000, 99.0), stops=5.0)
    late = attempt("td3", to(6_000, 20.0), to(6_500, 30.0), to(7_000, 40.0))
    near = attempt("tqc", to(2_000, 300.0), to(3_000, 300.0), to(6_000, 300.0))
    two = attempt("ddpg", to(1_500, 1.5), to(1_500, 1.5))
    short = attempt("crossq", to(1_500, 1.5), to(1_500, 1.5), to(1_500, 1.5, wanted=4.0))
    task = which.Task("A", "balance", 5.0)
    found = [late, soon, near, two, short]
    assert which.compared(found, task, 0) == [which.Answer([soon, near], 4, "3,000 steps to 5")]
    assert which.compared(found, task, 1) == [which.Answer([late], 4, "30 s to 5")]
    assert which.compared([soon, two], task, 0) == []
    assert which.take([two], task, 0) == "no comparison: DDPG (2 seeds)"
    assert which.take(found, task, 1) == "**TD3**: 30 s to 5"
    assert which.take([near, soon], task, 0) == "no order: **TQC or SAC**: 3,000 steps to 5"
    other = which.Task("A", "a gait")
    assert which.compared([soon, late], other, 0) == [which.Answer([soon], 2, "5 after 5,000 steps")]
    assert which.take([late, near], other, 1) == "no budget that two had"


def test_where_some_ran_longer_they_are_compared_once_more() -> None:
    short, low, high = (
        attempt("droq", *[to(2_000, 70.0)] * 3),
        *(
            attempt(name, *[[(2_000, 20.0, 1.0), (10_000, 70.0, end)]] * 3)
            for name, end in (("sac", 6.0), ("tqc", 7.0))
        ),
    )
    task = which.Task("A", "a gait", 9.0)
    first, second = which.compared([short, low, high], task, 0)
    assert first == which.Answer([short], 3, "5 after 2,000 steps")
    assert second == which.Answer([high], 2, "7 after 10,000 steps")
    assert which.take([short, low, high], task, 0) == "**DroQ**: 5 after 2,000 steps; **TQC**: 7 after 10,000 steps"
    assert which.take([short, low, high], task, 1) == "**SAC or TQC**: 1 after 60 s"  # one answer: all ran so long


def test_a_run_counts_within_a_budget_if_it_was_so_long_or_had_learned() -> None:
    curves = to(2_000, 10.0), to(8_000, 80.0)
    assert attempt("sac", *curves).within(5_000, 0) == [0.0]
    assert attempt("sac", *curves, stops=5.0).within(5_000, 0) == [5.0, 0.0]
    assert attempt("sac", *curves, stops=9.0).within(500, 0) == []
    assert attempt("sac", *curves).within(60, 1) == [0.0]


def test_settings_without_a_preset_are_compared_where_all_have_run(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    assert which.general.section(made).endswith(which.general.UNKNOWN)

    def trained(name: str, *returns: float) -> None:
        for seed, value in enumerate(returns):
            made.write(f"defaults/{name}-{seed}", result(value, fresh_mean=value, fresh_episodes=10))

    for better, name in enumerate(("paper", "defaults")):
        trained(f"sac-Reacher-v5-{name}", *(value + 3 * better for value in (-9.0, -8.0, -7.0)))
    trained("td3-Reacher-v5-paper", 1.0)
    trained("ddpg-Reacher-v5-paper", 1.0, 2.0, 4.0)
    trained("ddpg-Reacher-v5-defaults", 1.0, 3.0, 5.0)
    assert "DDPG | 0" not in which.general.section(made)
    trained("ddpg-Reacher-v5-today", 6.0, 7.0, 8.0)
    text = which.general.section(made)
    paper, defaults = "-8.00 (-9.00 to -7.00), 3 seeds", "-5.00 (-6.00 to -4.00), 3 seeds"
    assert f"| Reacher-v5 | SAC | {paper} | {defaults} |  | `defaults` of `paper` |" in text
    assert "| Reacher-v5 | TD3 | 1.00 (1 seed), 1 of 3 seeds |  |  |  |" in text
    assert "| `today` of `paper`, `today` of `defaults` |" in text
    assert "| SAC | 0.00 | 1.00 |  | 1 |" in text
    assert f"| DDPG | {3.5 / 18:.2f} | {5.5 / 18:.2f} | 1.00 | 1 |" in text


def test_each_question_about_experience_has_its_table_with_medians_and_spreads(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    assert experience.section(made) == ""
    question = next(each for each in cases.EXPERIENCE if each.title == "n-step returns, HalfCheetah-v5")
    one, three, five = (case.name for case in question.cases)
    for seed, value in enumerate((100.0, 120.0, 140.0)):
        made.write(f"{one}-{seed}", result(0.0, 1.0, 2.0, value))
    made.write(f"{three}-0", result(0.0, 1.0, 3.0, 2_000.0))
    text = experience.section(made)
    assert "|  | seeds | 10 steps | 20 steps | 30 steps | 40 steps |" in text
    assert "| n-step-1 | 3 | 0 (0 to 0) | 1 (1 to 1) | 2 (2 to 2) | 120 (100 to 140) |" in text
    assert "| n-step-3 | 1 of 3 | 0 | 1 | 3 | 2,000 |" in text
    assert "Not run yet: n-step-5." in text
    assert five not in text
    assert "Lander" not in text
    experience.draw(made, tmp_path)
    assert [path.name for path in tmp_path.glob("*.svg")] == [f"{question.name}.svg"]
    assert "n-step-3 (1 of 3)" in (tmp_path / f"{question.name}.svg").read_text()


def test_successors_are_beside_sac_after_as_many_steps_and_as_many_seconds(tmp_path: Path) -> None:
    made = store.Store(tmp_path)
    assert successors.section(made) == ""

    def put(name: str, seed: int, *points: tuple[int, float, float]) -> None:
        made.write(f"successors/{name}-{seed}", {**result(0.0), "curve": [list(point) for point in points]})

    for seed in range(3):
        put("sac-Hopper-v5", seed, (10_000, 5.0, 10.0), (20_000, 10.0 + seed, 20.0), (30_000, 20.0, 30.0 + seed))
    put("crossq-Hopper-v5", 0, (10_000, 15.0, 40.0), (20_000, 30.0, 80.0))
    put("crossq-Hopper-v5", 1, (10_000, 25.0, 60.0), (20_000, 50.0, 80.0))
    text = successors.section(made)
    assert "HalfCheetah-v5, the" not in text
    heads = (
        "|  | seeds | 10,000 steps | 20,000 steps | 30,000 steps | seconds | within 20 s | return a second | published"
    )
    assert heads in text
    sac, crossq = text.splitlines()[-2:]
    assert sac.startswith(
        "| SAC | 3 | 10 (10 to 10) | 20 (20 to 20) | 31 (30 to 32) | 20 (20 to 20) | 31 (30 to 32) | 1.0 | 1,104"
    )
    assert crossq.startswith("| CrossQ | 2 of 3 | 50 (40 to 60) | 80 (80 to 80) |  | 40 (30 to 50) | 40 | 1.6 | 2,764")
    slow, quick = (successors.by_the_clock(each) for each in reversed(successors.environments(made)["Hopper-v5"]))
    assert (slow[0][0], slow[0][-1]) == (25.0, 30.0)  # both seeds of CrossQ were training
    np.testing.assert_allclose(slow[1][:, -1], [80.0, 64.0])
    assert quick[1].shape == (3, 50)
    successors.draw(made, tmp_path / "drawn.svg")
    assert "CrossQ (2 of 3)" in (tmp_path / "drawn.svg").read_text()
    alone = store.Store(tmp_path / "alone")
    alone.write("successors/droq-Hopper-v5-0", result(1.0, 2.0))
    assert "| DroQ | 1 of 3 | 2 |" in successors.section(alone)  # nobody's seconds to be within


def test_seconds_are_those_of_the_processor_that_most_had(tmp_path: Path) -> None:
    made = store.Store(tmp_path)

    def put(name: str, processor: str, seconds: float) -> None:
        curve = [[10_000, seconds, 5.0], [20_000, 2 * seconds, 9.0]]
        made.write(f"successors/{name}", {**result(0.0), "processor": processor, "curve": curve})

    for seed in range(3):
        put(f"sac-Hopper-v5-{seed}", "quick", 5.0)
        put(f"crossq-Hopper-v5-{seed}", "slow", 50.0)
    put("tqc-Hopper-v5-0", "quick", 7.0)
    put("tqc-Hopper-v5-1", "slow", 70.0)
    for number in range(4):  # of another comparison
        made.write(f"presets/sac-Reacher-v5-{number}", {**result(0.0), "processor": "slow"})
    for seed in range(5):  # each environment has a processor of its own
        put(f"tqc-HalfCheetah-v5-{seed}", "slow", 80.0)
    text = successors.section(made)
    assert "### HalfCheetah-v5, the first steps\n\nSeconds: slow.\n" in text
    assert "### Hopper-v5, the first steps\n\nSeconds: quick.\n" in text
    sac, tqc, crossq = successors.section(made).splitlines()[-3:]
    assert "| 10 (10 to 10) |" in sac
    assert tqc.startswith("| TQC | 2 of 3 | 5 (5 to 5) | 9 (9 to 9) | 14, 1 seed | 5 | 0.5 |")
    assert crossq.startswith("| CrossQ | 3 | 5 (5 to 5) | 9 (9 to 9) |  |  |  | 2,764")
    successors.draw(made, tmp_path / "drawn.svg")
    assert (tmp_path / "drawn.svg").read_text().count("CrossQ (3)") == 1  # over steps alone


def test_who_is_first_by_seconds_is_told_from_those_of_one_processor() -> None:
    soon = which.Tried("A", "sac", [to(2_000, 90.0)] * 3)
    elsewhere = which.Tried("A", "td3", [], untimed=[to(1_500, 20.0)] * 3)
    task = which.Task("A", "balance", 5.0)
    assert which.compared([soon, elsewhere], task, 0) == [which.Answer([elsewhere], 2, "1,500 steps to 5")]
    assert which.compared([soon, elsewhere], task, 1) == []
    assert which.take([soon, elsewhere], task, 1) == "no comparison: SAC (3 seeds); on another processor: TD3"
    assert which.take([elsewhere], task, 1) == "no comparison: not timed"
    later = which.Tried("A", "ddpg", [to(2_500, 120.0)] * 3)
    assert which.take([soon, later, elsewhere], task, 1) == "**SAC**: 90 s to 5; on another processor: TD3"
    assert which.take([soon, later, elsewhere], task, 0) == "**TD3**: 1,500 steps to 5"
    assert elsewhere.worth == (3, 1_500)
    assert elsewhere.reached(5.0, 1) == elsewhere.within(60, 1) == []


def test_a_question_may_be_of_success_and_of_how_soon_it_came() -> None:
    rates = [[10, 0.0], [20, 0.5], [30, 1.0], [40, 1.0]]
    late = [[10, 0.0], [20, 0.0], [30, 0.25], [40, 0.5]]
    found = numbers.Done(
        cases.Case("experience", "sac", "A", variant="with"),
        3,
        {0: result(*[-1.0] * 4, successes=rates), 1: result(*[-1.0] * 4, successes=late)},
    )
    asked = cases.Question("A", "", [found.case], measure="success rate", reached=1.0)
    marks = experience.at([found], "success rate")
    assert experience.row(asked, found, marks) == [
        *("with", "2 of 3", "0.00 (0.00 to 0.00)", "0.25 (0.00 to 0.50)", "0.62 (0.25 to 1.00)"),
        *("0.75 (0.50 to 1.00)", "30, 1 of 2 seeds"),
    ]
    assert experience.first(found, 2.0, "success rate") == "not reached"


def test_a_seed_that_stopped_early_does_not_cut_the_others_short() -> None:
    shown = {"shown": {"episodes": 50, "mean": 196.76, "std": 135.56}}
    seeds = {0: result(0.0, 5.0), 1: result(0.0, 1.0, 2.0, 5.0, **shown)}
    found = numbers.Done(cases.Case("experience", "sac", "A", variant="half"), 2, seeds)
    assert experience.first(found, 5.0, "return") == "30 (20 to 40)"
    assert experience.data([found]) == " The 50 episodes have a mean return of 197 (std 136)."


def test_a_wrapper_brings_three_numbers_to_three_scales() -> None:
    question = next(each for each in cases.EXPERIENCE if "scales" in each.title)
    (path,) = {case.flags.split("--wrapper ")[1].split(":")[0] for case in question.cases if "--wrapper" in case.flags}
    assert (BENCHMARKS.parent / path.replace(".", "/")).with_suffix(".py") == Path(scales.__file__)
    raw, scaled = gymnasium.make("Pendulum-v1"), scales.Scales(gymnasium.make("Pendulum-v1"))
    one, other = (each.reset(seed=0)[0] for each in (raw, scaled))
    np.testing.assert_allclose(other, one * [1e-3, 1.0, 1e3], rtol=1e-6)
    assert scaled.observation_space.contains(other)
