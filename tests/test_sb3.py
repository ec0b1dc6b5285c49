"""Models of Stable-Baselines3: read as policies that do the same, or refused; and its own code on a policy of polyak's.

The models are in tests/data/sb3, with the script that made them.
"""

import io
import json
import math
import os
import pickle
import shutil
import stat
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import polyak
from polyak import Policy, UsageError
from tiny_cli import PATIENCE, call_cli, process_environment

DATA = Path(__file__).parent / "data" / "sb3"
EXPECTED = json.loads((DATA / "expected.json").read_text())
PEERS = Path(os.environ.get("PEERS", Path(__file__).parent.parent / ".venv-peers" / "bin" / "python"))

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("name", ["sac", "td3", "ddpg"])
def test_an_imported_policy_gives_the_models_actions(name: str, tmp_path: Path) -> None:
    polyak.import_sb3(DATA / f"{name}.zip").save(tmp_path / "policy")
    policy = Policy.load(tmp_path / "policy")
    np.testing.assert_allclose(policy.act(EXPECTED["observations"]), EXPECTED[name], atol=1e-6)
    np.testing.assert_allclose(policy.predict(EXPECTED["observations"][0])[0], EXPECTED[name][0], atol=1e-6)
    assert policy.spec.observation_shape == (2, 2)
    assert policy.made_for == {"imported_from": "stable_baselines3 2.9.2"}
    assert policy.draws == (name == "sac")


def test_gsde_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"gsde\.zip cannot be imported: it explores with gSDE"):
        polyak.import_sb3(DATA / "gsde.zip")


# Others' models, made of one of these


def members(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def written(file: Path, content: dict[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(file, "w", **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file


Change = Callable[[dict[str, Any]], object]


def with_words(folder: Path, change: Change, name: str = "sac") -> Path:
    """A model whose `data` has been changed."""
    content = members(DATA / f"{name}.zip")
    words = json.loads(content["data"])
    change(words)
    return written(folder / "model.zip", {**content, "data": json.dumps(words).encode()})


def put(where: str, value: Any) -> Change:
    def change(words: dict[str, Any]) -> None:
        *folders, last = where.split("/")
        for each in folders:
            words = words[each]
        words[last] = value

    return change


CNN = "<class 'stable_baselines3.common.torch_layers.NatureCNN'>"
OTHERS: dict[str, tuple[Change, str]] = {
    "another algorithm": (
        put("policy_class/__module__", "stable_baselines3.common.policies"),
        r"its policy is SACPolicy of stable_baselines3\.common\.policies, but only MlpPolicy",
    ),
    "a policy of images": (
        put("policy_class/__init__", "<function CnnPolicy.__init__ at 0x1>"),
        "its policy is CnnPolicy",
    ),
    "a policy of its own": (put("policy_class/__init__", "<slot wrapper>"), "its policy is another class"),
    "a features extractor": (
        put("policy_kwargs", {"features_extractor_class": CNN}),
        r"a features extractor \(stable_baselines3\.common\.torch_layers\.NatureCNN\)",
    ),
    "an activation": (
        put("policy_kwargs", {"activation_fn": "<class 'torch.nn.modules.activation.GELU'>"}),
        r"its activation is torch\.nn\.modules\.activation\.GELU, but polyak has ReLU, Tanh, ELU, SiLU",
    ),
    "gSDE in its options": (put("policy_kwargs", {"use_sde": "True"}), "gSDE"),
    "a Dict": (put("observation_space/:type:", "<class 'gymnasium.spaces.dict.Dict'>"), "only a Box can be imported"),
    "discrete actions": (
        put("action_space/:type:", "<class 'gymnasium.spaces.discrete.Discrete'>"),
        "its action space",
    ),
    "an image": (put("observation_space/dtype", "uint8"), "its observation is an image"),
    "bounds left out": (put("action_space/low", "[0. ... 1.]"), "its plain text leaves out most of their bounds"),
    "other bounds": (put("action_space/low", "[0.]"), r"low of the action space is \[0\.\]"),
    "infinite bounds": (put("action_space/low", "[-inf -inf]"), "must be finite"),
    "bounds in words": (put("action_space/low", "low"), "its data cannot be read"),
    "no spaces": (lambda words: words.pop("observation_space"), "its data cannot be read"),
    "spaces in words": (put("observation_space", "Box"), "observation_space is no table"),
    "a shape in words": (put("observation_space/_shape", "ab"), "a shape is"),
    "another shape": (put("observation_space/_shape", [5]), "0/kernel has shape"),
    "a huge shape": (put("observation_space/_shape", [2**31]), "a shape is"),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_a_policy_has_not_is_refused_by_name(what: str, tmp_path: Path) -> None:
    change, told = OTHERS[what]
    with pytest.raises(UsageError, match=told) as caught:
        polyak.import_sb3(with_words(tmp_path, change))
    assert "model.zip" in str(caught.value)


def test_observations_that_a_vecnormalize_changed_are_refused_by_name(tmp_path: Path) -> None:
    model = Path(shutil.copy(DATA / "td3.zip", tmp_path / "Place-v0.zip"))
    polyak.import_sb3(model)
    (tmp_path / "Place-v0").mkdir()
    for file in (tmp_path / "vec_normalize.pkl", tmp_path / "Place-v0" / "vecnormalize.pkl"):
        file.write_bytes(b"")
        with pytest.raises(UsageError, match=rf"{file.name} lies beside .*VecNormalize.*averages would be lost"):
            polyak.import_sb3(model)
        with pytest.raises(UsageError, match="a VecNormalize file, is never read"):
            polyak.import_sb3(file)
        file.unlink()


RAN: list[str] = []
"""What somebody's code has done."""


def run_it() -> None:
    RAN.append("it ran")


@pytest.fixture(autouse=True)
def nothing_runs() -> Iterator[None]:
    """Of whatever is read here."""
    yield
    assert not RAN


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return run_it, ()


def test_what_is_serialized_is_never_decoded(tmp_path: Path) -> None:
    import base64

    evil = base64.b64encode(pickle.dumps(Evil())).decode()

    def change(words: dict[str, Any]) -> None:
        changed = [each.update({":serialized:": evil}) for each in words.values() if isinstance(each, dict)]
        assert len(changed) > 3

    policy = polyak.import_sb3(with_words(tmp_path, change))
    np.testing.assert_allclose(policy.act(EXPECTED["observations"]), EXPECTED["sac"], atol=1e-6)


# Hostile weights


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def weights(**changes: Any) -> bytes:
    """The actor's weights with some of them changed; None takes one away."""
    found = torch.load(io.BytesIO(members(DATA / "sac.zip")["policy.pth"]), weights_only=True)
    found.update({f"actor.{name.replace('__', '.')}": value for name, value in changes.items()})
    return saved({name: value for name, value in found.items() if value is not None})


def restored(content: bytes, change: Callable[[str, bytes], bytes], **options: Any) -> bytes:
    """A file of PyTorch's with members changed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(file, "w", **options) as changed:
        for name in archive.namelist():
            changed.writestr(name, change(name, archive.read(name)))
    return file.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a pickle": (lambda: pickle.dumps(Evil()), "no zip file"),
    "a pickle in PyTorch's form": (lambda: saved({"actor.mu.weight": Evil()}), "does not hold weights alone"),
    "PyTorch's form from before zip": (
        lambda: (file := io.BytesIO(), torch.save({}, file, _use_new_zipfile_serialization=False), file.getvalue())[2],
        "no zip file",
    ),
    "a list": (lambda: saved([torch.zeros(1)]), "no table of weights"),
    "nothing": (lambda: b"", "no zip file"),
    "weights cut off": (lambda: weights()[:5000], "no zip file"),
    "weights compressed": (
        lambda: restored(weights(), lambda _, data: data, compression=zipfile.ZIP_DEFLATED),
        "is compressed",
    ),
    "a tensor larger than its numbers": (
        lambda: weights(mu__weight=torch.zeros(1).expand(10**12, 5)),
        r"'actor\.mu\.weight' in its policy\.pth is no plain float32 tensor",
    ),
    "a storage larger than its file": (
        lambda: restored(weights(), lambda name, data: data[:4] if "/data/" in name else data),
        "does not hold weights alone",
    ),
    "a sparse tensor": (lambda: weights(mu__weight=torch.zeros(2, 5).to_sparse()), "no plain float32 tensor"),
    "a tensor of float64": (lambda: weights(mu__weight=torch.zeros(2, 5).double()), "no plain float32 tensor"),
    "a number": (lambda: weights(mu__weight=3.0), "no plain float32 tensor"),
    "no last layer": (lambda: weights(mu__weight=None), r"no network of dense layers alone: mu\.weight"),
    "another layer": (lambda: weights(norm__weight=torch.zeros(2)), r"no network of dense layers alone: norm\.weight"),
    "an extractor": (lambda: weights(features_extractor__cnn__weight=torch.zeros(2)), "features_extractor"),
    "another size": (lambda: weights(mu__weight=torch.zeros(2, 7)), "cannot be imported"),
    "a number of no axis": (lambda: weights(mu__weight=torch.zeros(())), "cannot be imported"),
    "a weight that is NaN": (lambda: weights(mu__bias=torch.full((2,), math.nan)), "holds a number that is not finite"),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_weights_are_refused(what: str, tmp_path: Path) -> None:
    make, told = HOSTILE[what]
    content = members(DATA / "sac.zip")
    with pytest.raises(UsageError, match=told) as caught:
        polyak.import_sb3(written(tmp_path / "model.zip", {**content, "policy.pth": make()}))
    assert "model.zip" in str(caught.value)


# Hostile zip files


def bomb(file: Path) -> None:
    written(file, {**members(DATA / "sac.zip"), "data": b" " * 30_000_000}, compression=zipfile.ZIP_DEFLATED)


def linked(file: Path) -> None:
    written(file, members(DATA / "sac.zip"))
    with zipfile.ZipFile(file, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")


def twice(file: Path) -> None:
    written(file, members(DATA / "sac.zip"))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(file, "a") as archive:
        archive.writestr("data", "{}")


def crowded(file: Path) -> None:
    written(file, {f"{number:04}{'x' * 1_000}": b"" for number in range(1_000)})


def flipped(file: Path) -> None:
    content = bytearray((DATA / "sac.zip").read_bytes())
    content[200] ^= 1
    file.write_bytes(content)


ZIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a bomb": (bomb, r"data in it is 30,000,000 bytes, more than 20,000,000"),
    "a name above": (lambda file: written(file, {"../evil": b"", "data": b"{}"}), r"'\.\./evil' is named as what lies"),
    "a name from the root": (lambda file: written(file, {"/evil": b""}), "is named as what lies elsewhere"),
    "a name of Windows": (lambda file: written(file, {"C:\\evil": b""}), "is named as what lies elsewhere"),
    "a link": (linked, "'link' is no plain file"),
    "a name twice": (twice, "two members 'data'"),
    "a list too long": (crowded, "its list of members is longer than 1,000,000 bytes"),
    "a flipped bit": (flipped, "is damaged: data in it cannot be read"),
    "no zip file": (lambda file: file.write_bytes(b"PK\x03\x04" + bytes(100)), "is no zip file"),
    "the end alone": (lambda file: file.write_bytes(b"PK\x05\x06" + b"\xff" * 18), "is refused|is no zip file"),
    "no data": (lambda file: written(file, {"policy.pth": b""}), "holds no data"),
    "no weights": (lambda file: written(file, {"data": members(DATA / "sac.zip")["data"]}), r"holds no policy\.pth"),
    "data that is a list": (lambda file: written(file, {"data": b"[1]", "policy.pth": b""}), "data is no table"),
    "data nested deep": (lambda file: written(file, {"data": b"[" * 10**6, "policy.pth": b""}), "cannot be read"),
    "data of no text": (lambda file: written(file, {"data": b"\xff", "policy.pth": b""}), "cannot be read"),
    "no file": (lambda _: None, "there is no file"),
    "a folder": (lambda file: file.mkdir(), "cannot be read: Is a directory"),
}


@pytest.mark.parametrize("what", ZIPS)
def test_a_hostile_zip_is_refused(what: str, tmp_path: Path) -> None:
    make, told = ZIPS[what]
    make(tmp_path / "model.zip")
    before = sorted(tmp_path.parent.rglob("evil"))
    with pytest.raises(UsageError, match=told) as caught:
        polyak.import_sb3(tmp_path / "model.zip")
    assert "model.zip" in str(caught.value)
    assert sorted(tmp_path.parent.rglob("evil")) == before


# The reader


def test_a_pytorch_whose_reader_can_be_deceived_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for found, refused in (("2.9.1+cpu", True), ("2.10.0", False), ("3.0", False)):
        monkeypatch.setattr("polyak.policies.sb3.weights.version", lambda _, found=found: found)
        if refused:
            with pytest.raises(UsageError, match=r"PyTorch is 2\.9\.1\+cpu, whose reader .* 2\.10 is needed"):
                polyak.import_sb3(DATA / "sac.zip")
        else:
            polyak.import_sb3(DATA / "sac.zip")


def test_without_pytorch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> str:
        raise PackageNotFoundError

    monkeypatch.setattr("polyak.policies.sb3.weights.version", missing)
    with pytest.raises(UsageError, match=r"is not installed: pip install \"polyak\[torch\]\""):
        polyak.import_sb3(DATA / "sac.zip")


# The command


def test_the_command_writes_a_policy_and_prints_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, output, errors = call_cli("import", "sb3", str(DATA / "sac.zip"))
    assert (code, output) == (0, "sac.safetensors\n")
    assert errors == "a squashed gaussian policy of 3 dense layers: observation (2, 2) -> action (2,)\n"
    np.testing.assert_allclose(Policy.load("sac.safetensors").act(EXPECTED["observations"]), EXPECTED["sac"], atol=1e-6)
    code, _, errors = call_cli("import", "sb3", str(DATA / "sac.zip"))
    assert code == 2
    assert "sac.safetensors is there already: say with -o" in errors
    assert call_cli("import", "sb3", str(DATA / "td3.zip"), "-o", "sac.safetensors")[0] == 0
    assert Policy.load("sac.safetensors").kind == "deterministic"
    code, _, errors = call_cli("import", "sb3", str(DATA / "td3.zip"), "-o", "nowhere/policy.safetensors")
    assert code == 2
    assert "there is no folder nowhere; make it" in errors
    assert not Path("nowhere").exists()


# Its own code

PROGRAM = """
import json, sys
sys.path += [SITE, DATA]
import numpy as np
import polyak
from make import Place
from gymnasium.wrappers import TimeLimit
from stable_baselines3 import SAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor

found = {}
file = DATA + "/sac.zip"
for name, each in {"model": SAC.load(file, device="cpu"), "policy": polyak.import_sb3(file)}.items():
    found[name] = []
    for envs, deterministic in ((1, True), (3, True)):
        vector = make_vec_env(lambda: TimeLimit(Place(), 20), n_envs=envs, seed=3)
        found[name].append(evaluate_policy(each, vector, 6, deterministic, return_episode_rewards=True))
    single = Monitor(TimeLimit(Place(), 20))
    assert np.isfinite(evaluate_policy(each, single, 2, deterministic=False)).all()
print(json.dumps(found))
"""


@pytest.mark.skipif(not PEERS.exists(), reason="the peers are not installed: make .venv-peers/installed")
def test_its_evaluate_policy_takes_a_policy_as_it_takes_its_own_model() -> None:
    site = str(Path(np.__file__).parents[1])
    program = f"SITE, DATA = {site!r}, {str(DATA)!r}\n{PROGRAM}"
    environment = {**process_environment(), "PYTHONPATH": str(Path(polyak.__file__).parents[1])}
    done = subprocess.run(
        [PEERS, "-c", program], env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for (returns, lengths), (expected, expected_lengths) in zip(found["policy"], found["model"], strict=True):
        assert lengths == expected_lengths
        np.testing.assert_allclose(returns, expected, atol=1e-4)
