"""Programs that JAX keeps between processes: the same numbers, no remark, and no run that fails for it."""

import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from polyak.frameworks.execution import Execution
from polyak.frameworks.jax import compiled, device
from tiny_cli import PATIENCE, SMALL, TINY, process_environment

PROGRAM = f"""
import hashlib, sys
import jax
events = []
jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
jax.monitoring.register_event_duration_secs_listener(lambda event, seconds, **_: events.append(event))
import polyak
run = polyak.train("sac", {TINY!r}, threads=1, run_dir=sys.argv[1], **{SMALL!r})
print(hashlib.sha256(run.policy_file.read_bytes()).hexdigest())
print(events.count("/jax/core/compile/backend_compile_duration"))
print(events.count("/jax/compilation_cache/cache_hits"))
"""
JAX_VARIABLES = ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS")


def environment(**variables: str) -> dict[str, str]:
    """Of a user who has set nothing but these variables, and trusts the installed JAX."""
    usual = {name: value for name, value in process_environment().items() if name not in JAX_VARIABLES}
    return {**usual, **variables}


def train(folder: Path, cache: str) -> tuple[str, int, int]:
    """The policy's digest, and how many programs it took and of these were loaded; a word on standard error fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(folder)],
        env=environment(POLYAK_COMPILE_CACHE=cache),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    digest, programs, loaded = done.stdout.splitlines()
    return digest, int(programs), int(loaded)


def entries(folder: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in sorted(folder.rglob("*-cache"))}


def test_a_kept_program_gives_the_same_policy_and_is_not_compiled_again(tmp_path: Path) -> None:
    policy, programs, loaded = train(tmp_path, str(tmp_path / "cache"))
    kept = entries(tmp_path / "cache")
    assert (programs, len(kept), loaded) == (1, 1, 0), "a run is one program: each small one costs its start 20 ms"
    assert train(tmp_path, str(tmp_path / "cache")) == (policy, 1, 1)
    assert entries(tmp_path / "cache") == kept


@pytest.fixture
def update(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """What JAX's settings are changed to, in a process that has no cache yet; they are not really."""
    changed: dict[str, object] = {}

    class Config:
        jax_compilation_cache_dir = None

        def update(self, name: str, value: object) -> None:
            changed[name] = value

    monkeypatch.setattr(compiled.jax, "config", Config())
    for name in (*JAX_VARIABLES, compiled.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(compiled.jax, "__version_info__", compiled.TRUSTED)
    return changed


def folder_of(update: dict[str, object]) -> Path:
    return Path(str(update["jax_compilation_cache_dir"]))


def test_it_lies_in_the_users_cache_folder_by_threads(
    update: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    compiled.keep_compiled(2)
    two = folder_of(update)
    assert two.parent == tmp_path / ".cache" / "polyak" / "jax"
    assert two.stat().st_mode & 0o777 == 0o700
    compiled.keep_compiled(3)
    assert folder_of(update).parent == two.parent
    assert folder_of(update) != two
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "else"))
    compiled.keep_compiled(2)
    assert folder_of(update) == tmp_path / "else" / "polyak" / "jax" / two.name
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path / "named"))
    compiled.keep_compiled(2)
    assert folder_of(update) == tmp_path / "named" / two.name


def test_it_is_left_alone_where_it_is_not_wanted_or_not_known_to_work(
    update: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setenv(compiled.VARIABLE, "Off")
        compiled.keep_compiled(1)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "platform", "darwin")
        compiled.keep_compiled(1)
    with monkeypatch.context() as patch:
        patch.setattr(compiled.jax, "__version_info__", (0, 10, 1))
        compiled.keep_compiled(1)
    with monkeypatch.context() as patch:
        patch.setattr(compiled.jax.config, "jax_compilation_cache_dir", "/their/own")
        compiled.keep_compiled(1)
    assert update == {}
    assert list(tmp_path.iterdir()) == []
    compiled.keep_compiled(1)
    assert update


def test_a_folder_that_cannot_be_used_or_is_not_the_users_alone_is_not_used(
    update: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv(compiled.VARIABLE, str(file))
    compiled.keep_compiled(1)
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path))
    compiled.keep_compiled(1)
    shared = folder_of(update)
    update.clear()
    shared.chmod(0o777)
    compiled.keep_compiled(1)
    shared.chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", lambda: shared.stat().st_uid + 1)
        compiled.keep_compiled(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda *_: False)
        compiled.keep_compiled(1)
    assert update == {}


def test_an_entry_that_was_cut_off_goes(
    update: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAX would fail to load it at every start, and never write it anew."""
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path))
    compiled.keep_compiled(1)
    whole = zlib.compress(bytes(range(256)))
    contents = {"whole": whole, "cut": whole[:-1], "empty": b"", "other": compiled.ZSTANDARD + b"unknown"}
    for name, content in contents.items():
        (folder_of(update) / f"{name}-cache").write_bytes(content)
    compiled.keep_compiled(1)
    assert [file.name for file in entries(tmp_path)] == ["other-cache", "whole-cache"]


def test_the_oldest_entries_go_beyond_the_limit(
    update: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.VARIABLE, str(tmp_path))
    monkeypatch.setattr(compiled, "LIMIT", 25)
    compiled.keep_compiled(1)
    for age in range(4):
        entry = folder_of(update) / f"{age}-cache"
        entry.write_bytes(compiled.ZSTANDARD + bytes(6))
        os.utime(entry, (1_000_000 - age, 1_000_000 - age))
    compiled.keep_compiled(1)
    assert [file.name for file in entries(tmp_path)] == ["0-cache", "1-cache"]


def test_what_a_gpu_is_compiled_for_is_deterministic_and_known_to_jax() -> None:
    """The CPU takes the option too, an unknown one would be refused; that it helps is tested where there is a GPU."""
    options = device.compiler_options(Execution("cuda"))
    assert options["xla_gpu_deterministic_ops"] is True
    assert float(jax.jit(lambda x: 2 * x, compiler_options=options)(21.0)) == 42.0
    assert device.compiler_options(Execution("cpu")) == {}
