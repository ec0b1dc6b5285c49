"""What a run goes on with otherwise than before: by declaration alone, exactly as it would be anew, and told."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import polyak
from polyak import Run, UsageError, frameworks
from polyak.algorithms import NAMES, algorithm, with_page
from polyak.report.groups import experiment, grouped
from polyak.report.page import page
from polyak.run import changes, start
from polyak.run.plan import plan_of
from polyak.settings.kinds import changeable
from polyak.settings.options import CHANGEABLE, KINDS
from test_resume import CONFIG, Told
from tiny_cli import TINY, call_cli, untrained_run
from whole_runs import assert_same, bits, contents, saved, snapshots


def train(folder: Path, algorithm: str = "sac", **options: Any) -> Run:
    return polyak.train(algorithm, TINY, run_dir=folder, **{**CONFIG, **options})


@pytest.fixture(scope="module")
def whole_and_killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run of SAC, and its folder as a kill at step 47 would have left it, from step 40 on."""
    folder = tmp_path_factory.mktemp("changes")
    with pytest.MonkeyPatch.context() as patch:
        taken = snapshots(patch, folder, 47).taken
        whole = train(folder / "runs")
    return whole, taken[47]


@pytest.fixture
def killed(whole_and_killed: tuple[Run, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_and_killed[1], tmp_path / "killed"))


# Declared


def test_each_setting_says_whether_it_may_be_another() -> None:
    """What makes shapes, draws or replay is none of them, nor what the learner has learned to expect."""
    shared = {"steps_per_epoch", "evaluation_episodes", "actor_learning_rate", "critic_learning_rate"}
    for name in NAMES:
        own = {"alpha_learning_rate"} if name not in ("ddpg", "td3") else set[str]()
        found = changeable(algorithm(name).Config)
        assert found.keys() == shared | own
        assert not any(note.exact for note in found.values())
    exact = {name for name, note in CHANGEABLE.items() if note.exact}
    assert exact == {"stop_at_return", "checkpoint_every", "step_timeout", "track", "mirror", "on"}


# Exactly


class Overheard:
    """A learner of which all that it is given is kept."""

    def __init__(self) -> None:
        self.given: list[tuple[Any, Any]] = []

    def make(self, *described: Any) -> Any:
        learner = frameworks.make_learner(*described)
        launch = learner.launch

        def heard(batches: Any, draws: Any) -> Any:
            self.given.append((replace(batches, records=batches.records.copy()), dict(draws)))
            return launch(batches, draws)

        cast(Any, learner).launch = heard
        return learner


def test_updates_after_it_are_those_of_a_learner_made_with_it(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: dict[str, Any] = {"actor_learning_rate": 1e-2, "critic_learning_rate": 3e-5, "alpha_learning_rate": 7e-3}
    before = saved(Run(killed))
    overheard = Overheard()
    monkeypatch.setattr(start, "frameworks", Patched(overheard.make))
    after = saved(polyak.resume(killed, **rates))
    plan = plan_of(after.manifest.run, TINY, with_page(algorithm("sac"), "torch"))
    assert {name: getattr(plan.config, name) for name in rates} == rates
    ends: list[dict[str, bytes]] = []
    for config in (plan.config, replace(plan.config, critic_learning_rate=3e-4)):
        learner = frameworks.make_learner("torch", plan.algorithm, before.spec, config, before.learner, plan.execution)
        for batches, draws in overheard.given:
            learner.launch(batches, draws)()
        ends.append(bits(learner.arrays()))
    assert sum(len(batches.records) for batches, _ in overheard.given) == 20
    assert ends[0] == bits(after.learner)
    assert ends[1] != ends[0]


class Patched:
    """The frameworks, with another way to make a learner."""

    def __init__(self, make: Any) -> None:
        self.make_learner = make

    def __getattr__(self, name: str) -> Any:
        return getattr(frameworks, name)


def test_killed_and_gone_on_with_again_it_is_kept(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(killed, tmp_path / "copy")
    with monkeypatch.context() as patch:
        taken = snapshots(patch, tmp_path, 2, 9).taken
        whole = polyak.resume(killed, checkpoint_every=7, actor_learning_rate=1e-2)
    assert sorted(taken) == [2, 9]
    for step, folder in taken.items():
        again = polyak.resume(folder)
        assert_same(again, whole)
        assert [entry["step"] for entry in again.settings["resumed"]] == [40, 40 if step == 2 else 42]
        assert again.settings["resumed"][0]["settings"] == {"actor_learning_rate": [3e-4, 1e-2]}
        assert again.settings["resumed"][1]["changed"] == []
    back = polyak.resume(copy, actor_learning_rate=3e-4)
    assert back.settings["resumed"][0] == {"step": 40, "given_up": 0, "changed": []}


def test_another_rate_in_another_framework_with_a_schedule(tmp_path: Path) -> None:
    first = train(tmp_path / "runs", "ddpg", steps=40, learning_rate_schedule="cosine")
    copy = shutil.copytree(first.folder, tmp_path / "copy")
    asked: dict[str, Any] = {"steps": 60, "actor_learning_rate": 1e-2, "evaluation_episodes": 3}
    here = polyak.resume(copy, **asked)
    run = polyak.resume(first, backend="jax", observer=(told := Told()), **asked)
    horizon = "learning_rate_schedule cosine ends at 60 steps now, 40 before"
    rate, episodes = "actor_learning_rate 0.0003 is 0.01 now", "evaluation_episodes 2 is 3 now"
    assert run.settings["resumed"][0]["changed"] == [rate, episodes, "backend torch is jax now", horizon]
    assert told.facts["not exact"] == (
        f"backend torch is jax now: what follows may differ in the last digits; {rate}, {episodes}: from here on it is "
        "not the run that either would have been from the start; "
        f"{horizon}, which a run of 60 from the start would not have"
    )
    ours, theirs = saved(run).learner, saved(here).learner
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=2e-3, atol=1e-5)
    longer = polyak.resume(here, steps=70)
    assert [sorted(entry) for entry in longer.settings["resumed"]][1] == ["changed", "given_up", "step"]


def test_what_is_declared_exact_changes_no_number(whole_and_killed: tuple[Run, Path], killed: Path) -> None:
    run = polyak.resume(killed, checkpoint_every=7, stop_at_return=1e9, step_timeout=50.0, observer=(told := Told()))
    assert_same(run, whole_and_killed[0])
    assert "not exact" not in told.facts
    changed = ["stop_at_return None is 1000000000.0 now", "checkpoint_every None is 7 now"]
    changed.append("step_timeout 600.0 is 50.0 now")
    assert sorted(run.settings["resumed"][0]["changed"]) == sorted(changed)
    assert sorted(told.facts["changed"].split(", ")) == sorted(changed)


def test_other_evaluations_train_the_same(whole_and_killed: tuple[Run, Path], killed: Path) -> None:
    run = polyak.resume(killed, steps_per_epoch=7, evaluation_episodes=1)
    ours, theirs = contents(run), contents(whole_and_killed[0])
    for name in ("learner", "replay", "policy"):
        assert ours[name] == theirs[name]
    assert [record["step"] for record in run.metrics] == [20, 40, 42, 49, 56, 60]


def test_a_run_stops_at_the_return_that_is_asked_for_now(tmp_path: Path) -> None:
    run = train(tmp_path, stop_at_return=-1e6, update_after=1_000)
    assert run.metrics[-1]["step"] == 20
    for same in (None, -1e7):
        polyak.resume(run, observer=(told := Told()), stop_at_return=same)
        assert "it reached the evaluation return of -1e+06 that was asked for" in told.progress.outcome
    assert polyak.resume(run, stop_at_return=1e6, steps=80).metrics[-1]["step"] == 80
    polyak.resume(run, stop_at_return=-1e6, steps=120)
    assert run.metrics[-1]["step"] == 100
    run = polyak.resume(run, stop_at_return=1e6)
    assert run.metrics[-1]["step"] == 120
    assert run.settings["resumed"][-1]["changed"] == ["stop_at_return -1000000.0 is 1000000.0 now"]


# Refused


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (
            {"batch_size": 8},
            r"a run keeps the batch_size that it began with, 8: what may be another on resume is steps, ",
        ),
        ({"hidden_sizes": (9,)}, "a run keeps the hidden_sizes that it began with, 4: .* --from .* begins a new run"),
        ({"envs": 2}, "a run keeps the envs that it began with, 1: what may be another .*alpha_learning_rate.*track"),
        ({"seed": None}, "a run keeps the seed that it began with, 3"),
        ({"learning_rate": 1e-4}, "resume has no 'learning_rate': polyak calls it actor_learning_rate"),
        ({"actor_learning_rat": 1e-4}, "did you mean 'actor_learning_rate'"),
        ({"frobnicate": 1}, "resume has no 'frobnicate': what may be another on resume is steps, "),
        ({"actor_learning_rate": "1e-4"}, "actor_learning_rate is '1e-4', but must be a number"),
        ({"actor_learning_rate": 0}, "actor_learning_rate is 0, but must be above 0"),
        ({"evaluation_episodes": 0}, "evaluation_episodes is 0, but must be at least 1"),
        ({"stop_at_return": "no"}, "stop_at_return is 'no', but must be a number"),
    ],
)
def test_a_wrong_one_says_which_may_be_another(asked: dict[str, Any], told: str, killed: Path) -> None:
    before = {path: path.read_bytes() for path in killed.rglob("*.json")}
    with pytest.raises(UsageError, match=told):
        polyak.resume(killed, **asked)
    assert {path: path.read_bytes() for path in killed.rglob("*.json")} == before


def test_a_return_to_stop_at_needs_evaluations(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, backend="torch", evaluate_in="never")
    with pytest.raises(UsageError, match=r"^stop_at_return is 3, but evaluate_in is never"):
        polyak.resume(run, steps=60, stop_at_return=3)


def test_every_name_is_either_taken_or_kept() -> None:
    kind = algorithm("sac").Config
    for name in (*KINDS, *(field.name for field in fields(kind))):
        assert changes.kept(name, kind) == (name not in {*changeable(kind), *CHANGEABLE, "steps"})


# On the command line


def test_flags_are_those_of_the_runs_algorithm(killed: Path, tmp_path: Path) -> None:
    ddpg = untrained_run(tmp_path / "runs", backend="torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "300")
        helps = [call_cli("resume", *words, "--help")[1] for words in ((str(killed),), (str(ddpg.folder),), ())]
    assert ["--alpha-learning-rate" in text for text in helps] == [True, False, True]
    assert all("--critic-learning-rate" in text for text in helps)
    assert "Adam's step size for the actor. As before unless given; another is not bit for bit the same." in helps[0]
    code, _, errors = call_cli("resume", str(ddpg.folder), "--steps", "50", "--actor-learning-rate", "1e-2", "--plain")
    assert (code, "not exact    actor_learning_rate 0.0003 is 0.01 now: from here on" in errors) == (0, True)
    assert Run(ddpg.folder).settings["settings"]["actor_learning_rate"] == 1e-2
    for flags, told in (
        (
            ("--batch-size", "3"),
            "resume has no --batch-size: a run keeps the batch_size that it began with; what",
        ),
        (("--seed=3",), "resume has no --seed: a run keeps the seed"),
        (("--gamma", "3"), "--discount, which resume does not take"),
        (("--actor-learning-rate", "0"), "actor_learning_rate is 0.0, but must be above 0"),
    ):
        code, output, errors = call_cli("resume", str(ddpg.folder), *flags)
        assert (code, output) == (2, "")
        assert told in errors


OWN = """
from dataclasses import dataclass, replace
from typing import Annotated
from polyak.algorithms import ddpg
from polyak.algorithms.ddpg.with_torch import update
from polyak.settings.kinds import ABOVE_0, Changeable


@dataclass(frozen=True, kw_only=True)
class Config(ddpg.Config):
    temperature: Annotated[float, ABOVE_0, Changeable(exact=False)] = 1.0
    \"\"\"Of nothing.\"\"\"
    kept: int = 1
    \"\"\"Of nothing either.\"\"\"


ALGORITHM = replace(ddpg.ALGORITHM, Config=Config, pages={"torch": update})
"""


def test_an_algorithm_of_ones_own_declares_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_changes.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    run = untrained_run(tmp_path / "runs", algorithm="own_changes", backend="torch")
    code, _, errors = call_cli("resume", str(run.folder), "--steps", "50", "--temperature", "2")
    assert (code, "temperature 1.0 is 2.0 now" in errors) == (0, True), errors
    with pytest.raises(UsageError, match=r"a run keeps the kept that it began with, 1: .*temperature"):
        polyak.resume(run, steps=60, kept=2)


# In the report


def test_the_report_shows_it_and_averages_it_with_no_other(tmp_path: Path) -> None:
    rate: dict[str, Any] = {"actor_learning_rate": 1e-2, "backend": "torch"}
    one, other = untrained_run(tmp_path, backend="torch"), untrained_run(tmp_path, seed=1, **rate)
    one = polyak.resume(one, steps=60, actor_learning_rate=5e-3)
    one = polyak.resume(one, steps=80, actor_learning_rate=1e-2)
    told = experiment(one.settings)["actor_learning_rate before"]
    assert told == "0.0003 until step 40, 0.005 until step 60"
    assert len(grouped([one, other])) == 2
    shown = page([one])
    assert f"{one.folder.name}, resumed at step 40: actor_learning_rate 0.0003 is 0.005 now" in shown
    assert told in shown
    several: tuple[Any, ...] = (5, [5], {"x": 5}, {"actor_learning_rate": "<b>"}, {"<b>": []}, None)
    for strange in several:
        entry: dict[str, Any] = {"step": "<b>", "changed": strange, "settings": strange}
        one.settings_file.write_text(json.dumps({**one.settings, "resumed": [entry]}))
        assert "<b>" not in page([Run(one.folder)])
