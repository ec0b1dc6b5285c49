"""What earlier versions wrote is read by this one: runs kept in `data/`, one for each format."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import polyak
from polyak import Policy, Run
from polyak.errors import NewerFormatError
from polyak.experience.links import NO_EPISODE
from polyak.policies import policy
from polyak.run.checkpoints import LEARNER, LOOP, manifest, segments
from polyak.system import arrayfiles
from test_resume import Told
from whole_runs import saved

RUNS = sorted(folder for folder in (Path(__file__).parent / "data").glob("run-format-*"))


@pytest.fixture(params=RUNS, ids=lambda folder: folder.name)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    return polyak.load(shutil.copytree(request.param, tmp_path / "run"))


def test_there_is_one_for_each_format() -> None:
    assert [folder.name for folder in RUNS] == [f"run-format-{number}" for number in range(1, manifest.VERSION + 1)]


def test_a_checkpoint_is_read(run: Run) -> None:
    expected = json.loads((run.folder / "expected.json").read_text())
    newest = saved(run)
    assert (newest.manifest.step, newest.replay.added) == (expected["step"], expected["added"])
    record = newest.replay.records(newest.replay.added - 1, newest.replay.added)[0]
    width = len(expected["last_record"])
    assert record.tolist() == expected["last_record"] + [0.0] * (newest.replay.layout.width - width)
    episodes = newest.replay.episodes(0, newest.replay.added).tolist()
    assert episodes == expected.get("episodes", [NO_EPISODE] * len(episodes))  # since format 5
    assert float(newest.learner["log_alpha"]) == expected["log_alpha"]
    assert len(newest.metrics.splitlines()) == expected["metrics"]


def test_a_policy_is_read(run: Run) -> None:
    expected = json.loads((run.folder / "expected.json").read_text())
    for path in (run.policy_file, run.best_policy_file):
        assert Policy.load(path).spec.observation_shape == (2,)
    np.testing.assert_allclose(run.policy.act(expected["observation"]), expected["action"], rtol=1e-6)


def test_a_run_goes_on(run: Run) -> None:
    told = Told()
    resumed = polyak.resume(run.folder, observer=told)
    assert "given up" not in told.facts
    assert [record["step"] for record in resumed.metrics] == [20, 40]
    assert resumed.metrics[-1]["learner/updates"] == 36
    numbered = "episodes" in json.loads((run.folder / "expected.json").read_text())
    successors = saved(resumed).replay.successors(np.arange(28, 39)).tolist()  # step 33 and later are taken here
    assert successors == ([29, -1, 31, 32, 33] if numbered else [-1] * 5) + [34, -1, 36, 37, 38, 39]


@pytest.mark.parametrize("form", [policy.FORM, LEARNER, LOOP, segments.FORM])
def test_each_file_says_its_format_and_a_newer_one_is_refused(form: arrayfiles.Form) -> None:
    newer = arrayfiles.Form(form.name, form.version + 1, form.what, form.kinds)
    content = arrayfiles.content_of(newer, {"a": np.zeros(1, np.float32)}, {})
    with pytest.raises(NewerFormatError, match=f"x is a {form.what} of format version {newer.version}, .* upgrade"):
        arrayfiles.arrays_in(content, Path("x"), form)
