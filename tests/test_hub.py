"""Runs on the Hub: what is pushed, its card read back, and what is pulled, which is a stranger's."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import ModelCard, errors

import polyak
from hub_here import HubHere, refused
from polyak import Run, UsageError
from polyak.deploy.hub import card as cards
from polyak.deploy.hub import client, folder
from polyak.errors import UnavailableError
from tiny_cli import TINY, Tiny, call_cli, untrained_run

REPO = "someone/ddpg-tiny"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """Two of an experiment, of seeds 3 and 1."""
    place = tmp_path_factory.mktemp("pushed")
    return untrained_run(place, seed=3, hidden_sizes=(7,)), untrained_run(place, seed=1, hidden_sizes=(7,))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubHere:
    here = HubHere(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.HfApi", here)
    return here


@pytest.fixture(scope="module")
def written(runs: tuple[Run, Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a dry run of both writes."""
    done = polyak.push(runs, REPO, dry_run=True, episodes=2, license="mit", output=tmp_path_factory.mktemp("dry"))
    assert (done.address, done.left_out) == (None, ())
    assert done.folder is not None
    return done.folder


def test_a_dry_run_writes_all_that_a_repository_has(written: Path, runs: tuple[Run, Run]) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    top = {"README.md", "policy.onnx", "replay.mp4", "report.html"}
    one = {"settings.json", "metrics.jsonl", "policy.safetensors", "best.safetensors", "ending.json"}
    assert names == top | one | {f"seed-1/{name}" for name in one}
    assert (written / "policy.safetensors").read_bytes() == runs[0].policy_file.read_bytes()
    assert (written / "seed-1" / "policy.safetensors").read_bytes() == runs[1].policy_file.read_bytes()


def test_the_card_says_what_the_hub_reads(written: Path, runs: tuple[Run, Run]) -> None:
    data = ModelCard((written / "README.md").read_text()).data
    means = [run.evaluate(2, seed=0).mean for run in runs]
    assert (data.library_name, data.license, data.pipeline_tag) == ("polyak", "mit", "reinforcement-learning")
    assert {"ddpg", TINY, "reinforcement-learning", "deep-reinforcement-learning"} <= set(data.tags)
    found = {each.metric_type: each for each in data.eval_results}
    assert found["mean_reward"].metric_value == f"{np.mean(means):.2f} +/- {np.std(means):.2f}"
    assert (found["mean_reward"].dataset_name, found["mean_reward"].task_type) == (TINY, "reinforcement-learning")


def test_the_card_says_over_how_many_and_how_to_train_it_again(written: Path, runs: tuple[Run, Run]) -> None:
    text = (written / "README.md").read_text()
    assert "2 seeds, 2 episodes each; the spread is of the seeds' means" in text
    assert f"polyak pull {REPO}" in text
    command = next(line.removeprefix("$ polyak ") for line in text.splitlines() if line.startswith("$ polyak train"))
    assert "--seeds=1,3" in command
    again = command.replace("--seeds=1,3", "--seed=3").split()
    code, out, _ = call_cli(*again, f"--run-dir={runs[0].folder.parent}/again", "--plain")
    assert code == 0
    ours, theirs = runs[0].settings, Run(Path(out.strip())).settings
    assert theirs["settings"] == ours["settings"]
    assert {name: theirs[name] for name in ("algorithm", "environment", "backend", "envs")} == {
        name: ours[name] for name in ("algorithm", "environment", "backend", "envs")
    }


def test_places_of_whoever_trained_it_are_not_pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path / "runs", mirror=str(tmp_path / "mirror"))
    assert "mirror" in run.settings
    content = folder.Content(
        (run,),
        REPO,
        best=False,
        episodes=1,
        seed=0,
        video=False,
        license=None,
        environment=None,
        told=lambda line: None,
    )
    monkeypatch.setattr(folder, "_onnx", lambda *_: [])
    (tmp_path / "out").mkdir()
    folder.fill(tmp_path / "out", content)
    assert str(tmp_path) not in (tmp_path / "out" / "settings.json").read_text()
    assert "--mirror" not in (tmp_path / "out" / "README.md").read_text()
    polyak.load(tmp_path / "out")


def test_what_is_pushed_is_pulled(hub: HubHere, written: Path, runs: tuple[Run, Run], tmp_path: Path) -> None:
    shutil.copytree(written, hub.root / REPO)
    first, second = polyak.pull(REPO, run_dir=tmp_path / "runs")
    assert (first.folder.name, second.folder.name) == ("someone-ddpg-tiny", "someone-ddpg-tiny-seed-1")
    for ours, theirs in zip(runs, (first, second), strict=True):
        assert theirs.policy_file.read_bytes() == ours.policy_file.read_bytes()
        assert theirs.evaluate(1).returns == ours.evaluate(1).returns
        assert theirs.metrics == ours.metrics
    with pytest.raises(UsageError, match="has no checkpoint"):
        polyak.resume(first)
    polyak.pull(REPO, run_dir=tmp_path / "runs")  # once more, into the same folders


def test_a_second_push_leaves_nothing_of_the_first(
    hub: HubHere, runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "_onnx", lambda *_: [])
    chosen: dict[str, Any] = {"episodes": 1, "video": False}
    told = list[str]()
    done = polyak.push(runs, REPO, private=True, told=told.append, **chosen)
    assert (done.folder, done.address, hub.private) == (None, f"https://hub.test/{REPO}", True)
    assert told[-1] == f"sending to {REPO}"
    assert (hub.root / REPO / "seed-1" / "settings.json").exists()
    polyak.push(runs[0], REPO, **chosen)
    assert not (hub.root / REPO / "seed-1" / "settings.json").exists()


def test_of_a_strangers_repository_only_a_runs_files_are_brought(hub: HubHere, written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, hub.root / REPO)
    (hub.root / REPO / "evil.py").write_text("raise SystemExit")
    (hub.root / REPO / "videos").mkdir()
    (hub.root / REPO / "videos" / "a.mp4").write_bytes(b"film")
    run = polyak.pull(REPO, run_dir=tmp_path / "runs")[0]
    assert not (run.folder / "evil.py").exists()
    assert not (run.folder / "README.md").exists()
    assert (run.folder / "videos" / "a.mp4").exists()
    assert not any(each.startswith("download evil") for each in hub.asked)


def test_a_file_that_is_longer_than_it_says_is_refused(hub: HubHere, written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, hub.root / REPO)
    hub.lies = {"policy.safetensors": 10}
    with pytest.raises(UsageError, match=r"policy.safetensors is damaged"):
        polyak.pull(REPO, run_dir=tmp_path / "runs")
    assert not list((tmp_path / "runs").rglob("policy.safetensors"))


def test_settings_that_are_none_are_refused(hub: HubHere, written: Path, tmp_path: Path) -> None:
    shutil.copytree(written, hub.root / REPO)
    (hub.root / REPO / "settings.json").write_text(json.dumps({"format": 1, "algorithm": ["x"]}))
    with pytest.raises(UsageError, match=r"settings\.json"):
        polyak.pull(REPO, run_dir=tmp_path / "runs")


def test_another_run_is_never_written_over(hub: HubHere, written: Path, runs: tuple[Run, Run], tmp_path: Path) -> None:
    shutil.copytree(written, hub.root / REPO)
    shutil.copytree(runs[1].folder, tmp_path / "runs" / "someone-ddpg-tiny")
    with pytest.raises(UsageError, match="is there and is not the run at someone/ddpg-tiny"):
        polyak.pull(REPO, run_dir=tmp_path / "runs")


FAULTS = {
    "offline": (errors.OfflineModeIsEnabled("HF_HUB_OFFLINE is set"), UnavailableError, "just now: HF_HUB_OFFLINE"),
    "no network": (ConnectionError("no route"), UnavailableError, "just now: no route"),
    "busy": (refused(errors.HfHubHTTPError, 503), UnavailableError, "just now"),
    "forbidden": (refused(errors.HfHubHTTPError, 403), UsageError, "refuses \\(403\\); log in"),
    "gated": (refused(errors.GatedRepoError, 403), UsageError, "is gated"),
    "a name that is none": (errors.HFValidationError("..."), UsageError, "is no name that the Hub takes"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_hub_says_is_one_line(hub: HubHere, name: str) -> None:
    hub.down, kind, words = FAULTS[name]
    with pytest.raises(kind, match=words) as told:
        polyak.pull(REPO)
    assert "\n" not in str(told.value)
    assert hub.token is not None
    assert hub.token not in str(told.value)


def test_who_is_not_logged_in_is_told_before_anything_is_done(hub: HubHere, runs: tuple[Run, Run]) -> None:
    hub.token = None
    with pytest.raises(UsageError, match="does not know who asks; log in"):
        polyak.push(runs[0], REPO, told=pytest.fail)
    assert hub.asked == ["whoami"]


def test_a_repository_that_is_not_there_or_holds_no_run(hub: HubHere) -> None:
    with pytest.raises(UsageError, match="there is no someone/nothing on the Hub for whoever asks"):
        polyak.pull("someone/nothing")
    (hub.root / REPO).mkdir(parents=True)
    with pytest.raises(UsageError, match="holds no run of polyak's"):
        polyak.pull(REPO)
    with pytest.raises(UsageError, match="no such revision"):
        polyak.pull(REPO, revision="v9")


def test_wrong_calls_are_told_before_anything_is_made(
    runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = untrained_run(tmp_path / "runs", seed=1, hidden_sizes=(9,))
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    for words, given, named in (
        ("are of 2 experiments", (runs[0], other), {}),
        ("another run has its seed", (runs[0], shutil.copytree(runs[0].folder, tmp_path / "copy")), {}),
        ("there are no runs", (), {}),
        ("a name on the Hub, as USER/NAME", runs, {"repo": "name"}),
        ("told", runs, {"told": 3}),
        ("is not empty", runs, {"dry_run": True, "output": full}),
        ("unless it is a dry run", runs, {"output": tmp_path / "new"}),
        ("episodes", runs, {"episodes": 0}),
        ("is not a run", (tmp_path,), {}),
    ):
        with pytest.raises(UsageError, match=words):
            polyak.push(given, **{"repo": REPO, **named})  # type: ignore[arg-type]
    monkeypatch.setattr(client, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r'pip install "polyak\[hub\]"'):
        polyak.pull(REPO)


def test_from_the_command_line(hub: HubHere, runs: tuple[Run, Run], tmp_path: Path) -> None:
    folders = [str(run.folder) for run in runs]
    output = tmp_path / "card"
    code, out, err = call_cli("push", *folders, REPO, "--dry-run", "--episodes", "1", "--no-video", "-o", str(output))
    assert (code, out.strip()) == (0, str(output))
    assert "evaluating" in err
    assert (output / "README.md").exists()
    shutil.copytree(output, hub.root / REPO)
    code, out, _ = call_cli("pull", REPO, "--run-dir", str(tmp_path / "runs"))
    assert code == 0
    assert out.split() == [str(tmp_path / "runs" / f"someone-ddpg-tiny{more}") for more in ("", "-seed-1")]
    code, _, err = call_cli("push", folders[0])
    assert (code, "push needs runs and, last, a repository" in err) == (2, True)


def test_what_cannot_be_made_is_said_and_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path / "runs")

    def refuse(*_: Any, **__: Any) -> None:
        raise UsageError("there is none here")

    monkeypatch.setattr(folder, "export", refuse)
    monkeypatch.setattr(Run, "record", refuse)
    done = polyak.push(run, REPO, dry_run=True, episodes=1, output=tmp_path / "out")
    assert done.left_out == ("no video: there is none here", "no ONNX copy: there is none here")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "replay.mp4" not in text
    assert "policy.onnx" not in text


def test_of_a_callable_there_is_no_command(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, Tiny)
    assert "trained from Python" in cards.reproducing([run.settings])
