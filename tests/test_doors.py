"""Whatever is wrong with a call is a UsageError that names it: each argument of each public function, of wrong kinds.

Nothing is made meanwhile: no folder of a run, no video.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak.errors import UsageError
from polyak.run.folder import Run
from tiny_cli import SMALL, TINY, untrained_run

WRONG: tuple[Any, ...] = (
    *(None, True, 5, -1, 1.5, math.nan, "", "10", b"x", [], (), {}, object()),
    *(print, int, Path("/dev/null/x"), np.zeros(2), 1j),
)
"""Wrong for nearly everything."""
NOT_CALLED = {
    "Policy.explore": "the loop's own, at every step",
    "Policy.mean": "the same",
    "Policy.require_consistent": "takes nothing",
    "Player.environments": "of the check of an export",
    "Spec.map_of": "the loop's own",
}
"""Methods that take what they get, for speed, and why."""


def never() -> Any:
    raise AssertionError("an environment has been made")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return untrained_run(tmp_path_factory.mktemp("runs"), algorithm="sac", steps=5, steps_per_epoch=5, start_steps=5)


MADE, ARRAY, PLACES = {"'10'", repr(print), repr(int)}, {"array([0., 0.])"}, {"'10'", "PosixPath('/dev/null/x')"}
BOUNDS = {"action_low": ARRAY, "action_high": ARRAY}
# What is taken of the above, by its repr; all else is refused. What is taken may still have nothing to do.
NONE, TRUE, MAYBE, FEW, TEXTS = {"None"}, {"True"}, {"None", "True"}, {"[]", "()"}, {"''", "'10'"}
POSITIVE, FIVE, NUMBERS = {"5"}, {"None", "5"}, {"5", "1.5"}
TAKEN: dict[str, dict[str, set[str]]] = {
    "train": {
        **dict.fromkeys(("config", "from_run", "preset", "observer"), NONE),
        **dict.fromkeys(("seed", "envs"), POSITIVE),
        **dict.fromkeys(("threads", "checkpoint_every"), FIVE),
        **dict.fromkeys(("fast", "fresh_environments", "probe"), TRUE),
        "run_dir": PLACES,
        "stop_at_return": {"None", "5", "-1", "1.5"},
        "step_timeout": {"None", *NUMBERS},
        "track": FEW,
        "progress": MAYBE,
        "environment_settings": {*FEW, "{}"},
        "wrappers": FEW,
        "info_metrics": FEW | {"'10'"},
        "mirror": PLACES | {"''"},
    },
    "resume": {
        "stop_at_return": {"5", "-1", "1.5"},
        **dict.fromkeys(("steps", "environment", "backend", "device", "observer"), NONE),
        **dict.fromkeys(("threads", "checkpoint_every"), FIVE),
        **dict.fromkeys(("fresh_environments", "progress"), MAYBE),
        "step_timeout": {"None", *NUMBERS},
        "track": FEW,
        "callbacks": FEW,
        "replay_seconds": NUMBERS,
        "run_dir": PLACES,
        "mirror": PLACES | {"''"},
    },
    "Run.evaluate": {
        "episodes": POSITIVE,
        "seed": POSITIVE,
        "best": TRUE,
        "deterministic": TRUE,
        "environment": NONE,
        "info_metrics": {"None", "'10'", *FEW},
    },
    "Run.environment": {"given": {"None", *MADE}},
    "Run.isolation": {"environment": MADE},
    "Run.player": {"environment": {"None", *MADE}, "best": TRUE},
    "load": {"run_dir": PLACES},
    "Policy.act": {"deterministic": TRUE, "generator": NONE, "observation": ARRAY},
    "Run.q": {"observations": ARRAY},
    "Policy.save": {"path": {"'10'"}},
    "Policy.distribution": {"observation": ARRAY},
    "Policy.predict": {"deterministic": TRUE, "observation": ARRAY, "state": {"any"}, "episode_start": {"any"}},
    "Policy": {"exploration_noise": NUMBERS, "made_for": {"{}"}, "body": {"None", "()"}},
    "Spec": {
        "observation_shape": {"()"},
        "action_shape": {"()"},
        "observation_parts": {"any"},
        "action_low": ARRAY,
        "action_high": ARRAY,
    },
    "Run": {"folder": PLACES},
}
ADDED: dict[str, set[str]] = {"environment_settings": {*FEW, "{}"}, "wrappers": FEW}
TAKEN["tune"] = {
    **dict.fromkeys(("trials", "jobs"), POSITIVE),
    "storage": {"'10'"},
    "study": {"'10'"},
    "timeout": NUMBERS | {"'10'"},
    **dict.fromkeys(("keep_pruned", "progress"), TRUE),
}
TAKEN["drive"] = {
    "environment": {"None", *MADE},
    "rate": NUMBERS,
    **dict.fromkeys(("steps", "episodes", "seed", "queue_size"), POSITIVE),
    "learn": TRUE,
    "action_rate_limit": NUMBERS,
    "stop_on": {repr(print)},
    "deterministic": TRUE,
    "step_timeout": {"None", *NUMBERS},
    "run_dir": PLACES,
}
TAKEN["export"] = {
    **dict.fromkeys(("best", "stochastic", "unchecked"), TRUE),
    "output": {"'10'"},
    "environment": MADE,
    "run_dir": PLACES,
}
TAKEN["push"] = {
    **dict.fromkeys(("best", "video", "private", "dry_run"), TRUE),
    **dict.fromkeys(("license", "revision", "output"), frozenset({"'10'"})),
    "told": {"any"},
    "episodes": NUMBERS,
    "environment": MADE,
    "run_dir": PLACES,
}
TAKEN["pull"] = {"revision": {"'10'"}, "run_dir": PLACES}
TAKEN["write_report"] = {"output": {"'10'"}}
TAKEN["write_dataset"] = {**TAKEN["Run.evaluate"], "watched": {repr(print), repr(int)}}
TAKEN["Player"] = {
    **ADDED,
    **dict.fromkeys(("name", "called"), TEXTS),
    **dict.fromkeys(("policy", "videos"), PLACES),
    "environment": MADE,
    "isolation": NONE,
    "max_episode_steps": FIVE,
    "action_repeat": POSITIVE,
    "info_metrics": {"'10'", *FEW},
}
TAKEN["train_together"] = {**TAKEN["train"], "observers": {*FEW, "{}"}, "seeds": set()}
TAKEN["Run.record"] = {**TAKEN["Run.evaluate"], "steps": POSITIVE, "output": NONE, "gif": TRUE, "overlay": TRUE}
TAKEN["record"] = TAKEN["Run.record"]
# a screen, of which tests have none, is asked for before an environment is made
TAKEN["Player.watch"] = TAKEN["Run.watch"] = {**TAKEN["Run.evaluate"], "environment": {"None", *MADE}}
TAKEN["Player.play"] = TAKEN["Player.evaluate"] = {**TAKEN["Run.evaluate"], "watched": {repr(print), repr(int)}}
TAKEN["Player.record"] = TAKEN["Run.record"]
TAKEN["Player.film"] = TAKEN["Run.film"] = {**TAKEN["Run.record"], "label": TEXTS, "observer": NONE}


def doors(run: Run) -> Iterator[tuple[str, Callable[..., Any], dict[str, Any]]]:
    """Every public function and method, and the arguments of a call that is right."""
    training = {"algorithm": "ddpg", "environment": never, **SMALL}
    yield "train", polyak.train, training
    yield "train_together", polyak.train_together, {**training, "seeds": [0]}
    yield "tune", polyak.tune, {"algorithm": "ddpg", "environment": TINY, "storage": "redis://here"}  # not taken
    yield "resume", polyak.resume, {"folder": run}
    yield "drive", polyak.drive, {"run": run, "environment": "no_such_module:Id", "rate": 5.0}
    yield "record", polyak.record, {"runs": [run, run], "episodes": 1}
    yield "write_report", polyak.write_report, {"runs": run}
    yield "export", polyak.export, {"run": run}
    yield "push", polyak.push, {"runs": run, "repo": "never/never", "dry_run": True, "output": run.folder}  # not taken
    yield "pull", polyak.pull, {"repo": "never"}  # not taken
    yield "write_dataset", polyak.write_dataset, {"run": run, "output": "there-v0", "episodes": 1}
    yield "import_sb3", polyak.import_sb3, {}
    yield "load", polyak.load, {"folder": run}
    yield "Run", polyak.Run, {"folder": run}
    policy = run.policy
    yield "Policy", polyak.Policy, {"parameters": policy.parameters, "spec": policy.spec, "kind": policy.kind}
    shapes = {"observation_shape": (2,), "action_shape": (2,)}
    yield "Spec", polyak.Spec, {**shapes, "action_low": -np.ones(2), "action_high": np.ones(2)}
    right: dict[str, Any] = {"observations": np.zeros((1, 2)), "actions": np.zeros((1, 1))}
    right |= {"observation": np.zeros(2, np.float32), "path": run.folder / "policy.safetensors", "episodes": 1}
    player = polyak.Player(policy, run.environment())
    yield "Player", polyak.Player, {"policy": policy, "environment": never}
    for what, of in (("Run", run), ("Policy", policy), ("Player", player)):
        for name, method in inspect.getmembers(of, callable):
            parameters = {} if name.startswith("_") else inspect.signature(method).parameters
            if parameters and f"{what}.{name}" not in NOT_CALLED:
                yield f"{what}.{name}", method, {each: right[each] for each in parameters if each in right}


def refused(function: Callable[..., Any], arguments: dict[str, Any]) -> str:
    """What is said of a call; one that is taken, or ends in another error, is told in capitals."""
    try:
        function(**arguments)
    except UsageError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
        return f"RAISED {error!r}"
    return "TAKEN"


def usual(default: Any) -> set[str]:
    """What is taken because it is the default."""
    return NONE if default is None else FEW if isinstance(default, tuple) and not default else set()


def named_in(message: str, name: str, value: Any) -> bool:
    """Whether a message is one line that tells which argument is wrong: by its name, or as it was written."""
    shown = value if isinstance(value, str | Path) and value else repr(value)
    told = re.search(rf"\b{name.removesuffix('s')}", message) or str(shown) in message
    return bool(told) and not message.startswith(("RAISED", "TAKEN")) and len(message) < 700 and "\n" not in message


def test_every_argument_of_every_public_function(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    before, called, wrong = sorted(run.folder.rglob("*")), set[str](), list[Any]()
    for what, function, right in doors(run):
        called.add(what)
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            for value in WRONG:
                taken = TAKEN.get(what, {}).get(name, set[str]()) | usual(parameter.default)
                if repr(value) in taken or "any" in taken:
                    continue
                said = refused(function, {**right, name: value})
                if not named_in(said, name, value):
                    wrong.append((what, name, repr(value), said))
    assert not wrong, "\n".join(map(str, wrong))
    assert not list(tmp_path.iterdir())
    assert sorted(run.folder.rglob("*")) == before
    public = {name: getattr(polyak, name) for name in polyak.__all__ if callable(getattr(polyak, name))}
    assert {name for name, each in public.items() if not _is_error(each)} <= called
    assert {f"Run.{each}" for each in ("evaluate", "record", "film", "watch")} <= called


def _is_error(each: Any) -> bool:
    return isinstance(each, type) and issubclass(each, BaseException)


def test_what_a_call_does_not_take_is_answered(run: Run) -> None:
    call: Any
    for call, said in (
        (lambda: polyak.resume(run, total_timesteps=9), "resume has no 'total_timesteps': polyak calls it steps"),
        (lambda: polyak.resume(run, gamma=0.9), "resume has no 'gamma': polyak calls it discount, which resume does"),
        (polyak.resume, "resume(): missing a required argument: 'folder'; it takes folder, steps, "),
        (lambda: polyak.load(run, 3), "load(): too many positional arguments; it takes folder"),
        (lambda: polyak.train("sac"), "train(): missing a required argument: 'environment'"),
        (lambda: polyak.train("sac", "Pendulum-v1", 10_000), "train(): too many positional arguments; it takes algo"),
        (lambda: run.evaluate(n_eval_episodes=3), "evaluate has no 'n_eval_episodes': polyak calls it episodes"),
        (lambda: run.record(episods=3), "record has no 'episods': did you mean 'episodes'?"),
        (lambda: run.record(video="x.mp4"), "record has no 'video': it takes episodes, steps, seed, "),
    ):
        with pytest.raises(UsageError, match=f"^{re.escape(said)}"):
            call()


def test_a_run_is_taken_where_its_folder_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert polyak.load(run) == polyak.load(str(run.folder)) == polyak.Run(str(run.folder)) == run
    assert polyak.resume(run).folder == run.folder
    monkeypatch.chdir(tmp_path)
    later = untrained_run(
        tmp_path / "runs", algorithm="sac", from_run=run, steps=5, steps_per_epoch=5, hidden_sizes=(4,)
    )
    assert later.settings["from_run"] == str(run.folder)
    assert polyak.Policy.load(str(run.policy_file)).made_for == run.policy.made_for


def test_a_video_s_path_may_be_a_text(run: Run, tmp_path: Path) -> None:
    assert run.record(output=str(tmp_path / "x.mp4")) == tmp_path / "x.mp4"
