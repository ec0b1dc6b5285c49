"""The model card: what the Hub's reinforcement-learning pages read, and what a person should know first."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

import polyak
from polyak.algorithms import is_built_in, titled
from polyak.errors import UsageError
from polyak.many.words import option_words, words_of
from polyak.run.origin import label_of
from polyak.run.plan import planned
from polyak.settings.options import KINDS, Options

MACHINE = ("backend", "device", "threads", "preset", "seed", "from_run", "run_dir", "mirror", "on", "track", "probe")
"""Options that a command for somebody else's machine does not repeat as they are."""
TASK = "reinforcement-learning"


@dataclass(frozen=True)
class Measured:
    """What fresh episodes gave."""

    returns: tuple[tuple[float, ...], ...]
    """Of each run, of each of its episodes."""
    success_rate: float | None
    """Over all episodes that said."""
    seed: int
    best: bool

    @property
    def mean(self) -> float:
        """Over all episodes."""
        return float(np.mean(self.returns))

    @property
    def spread(self) -> float:
        """The standard deviation of the runs' means over seeds, or of a single run's returns over episodes."""
        means = [float(np.mean(each)) for each in self.returns]
        return float(np.std(means if len(means) > 1 else np.array(self.returns)))

    @property
    def over(self) -> str:
        """What mean and spread are taken over."""
        episodes = len(self.returns[0])
        if len(self.returns) == 1:
            return f"1 seed, {episodes} episodes; the spread is over episodes"
        return f"{len(self.returns)} seeds, {episodes} episodes each; the spread is of the seeds' means"


def card(
    settings: Sequence[Mapping[str, Any]], repo: str, measured: Measured, files: Sequence[str], licence: str | None
) -> str:
    """The text of README.md, its metadata on top.

    Args:
        settings: those of each run, which differ in their seed alone.
        repo: USER/NAME.
        measured: what fresh episodes gave.
        files: the names of what lies beside it.
        licence: as the Hub names it; or none.
    """
    from huggingface_hub import EvalResult, ModelCardData

    first = settings[0]
    algorithm, environment = str(first["algorithm"]), label_of(first)
    results = [_result(EvalResult, environment, "mean_reward", f"{measured.mean:.2f} +/- {measured.spread:.2f}")]
    if measured.success_rate is not None:
        results.append(_result(EvalResult, environment, "success_rate", round(measured.success_rate, 4)))
    data = ModelCardData(
        model_name=f"{algorithm}-{first['environment']}",
        library_name="polyak",
        pipeline_tag=TASK,
        license=licence,
        tags=[
            str(first["environment"]),
            algorithm,
            TASK,
            "deep-reinforcement-learning",
            "continuous-control",
            "polyak",
        ],
        eval_results=results,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_body(settings, repo, measured, files)}"


def _result(kind: Any, environment: str, metric: str, value: Any) -> Any:
    told = {"task_type": TASK, "task_name": TASK, "dataset_type": environment, "dataset_name": environment}
    return kind(**told, metric_type=metric, metric_name=metric, metric_value=value)


def _body(settings: Sequence[Mapping[str, Any]], repo: str, measured: Measured, files: Sequence[str]) -> str:
    first = settings[0]
    algorithm, environment = titled(str(first["algorithm"])), label_of(first)
    which = "the best evaluation of its training" if measured.best else "the end of its training"
    rows = [
        ("return", f"{measured.mean:.2f} ± {measured.spread:.2f} ({measured.over})"),
        *([] if measured.success_rate is None else [("success", f"{measured.success_rate:.1%}")]),
        ("policy", f"deterministic, of {which}; seed {first['seed']}"),
        ("trained for", f"{_number(first['settings'].get('steps'))} steps"),
        ("framework", str(first.get("backend"))),
    ]
    versions = first.get("versions", {})
    rows += [("versions", ", ".join(f"{name} {versions[name]}" for name in versions if versions[name]))]
    parts = [
        f"# {algorithm} on {environment}\n",
        f"A policy of {algorithm}, trained on `{environment}` with polyak {polyak.__version__}.\n",
        *(["The policy as it plays: `replay.mp4`.\n"] if "replay.mp4" in files else []),
        "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows) + "\n",
        f"The episodes' seeds are drawn from {measured.seed}. A mean over few seeds says little of the next one.\n",
        "## Use\n",
        f"```console\n{_commands(repo)}\n```\n",
        f'```python\nimport polyak\n\nrun = polyak.pull("{repo}")[0]\naction = run.policy.act(observation)\n```\n',
        "## Train it again\n",
        f"{reproducing(settings)}\n",
        "## Files\n",
        "\n".join(f"- `{name}`: {meaning}" for name, meaning in FILES.items() if name in files) + "\n",
        *(["The other seeds' runs are in the folders `seed-N`.\n"] if len(settings) > 1 else []),
    ]
    return "\n".join(parts)


def _commands(repo: str) -> str:
    here = f"runs/{repo.replace('/', '-')}"
    return "\n".join(['$ pip install "polyak[hub]"', f"$ polyak pull {repo}", f"$ polyak evaluate {here}"])


FILES = {
    "policy.safetensors": "the policy, which acts with NumPy alone",
    "best.safetensors": "that of the best evaluation",
    "policy.onnx": "the policy that was evaluated, observation in and action out, for ONNX Runtime",
    "settings.json": "every setting, versions and machine",
    "metrics.jsonl": "what was measured, a record a line",
    "report.html": "learning curves, losses and times, in one page",
    "replay.mp4": "a video",
}
"""What may lie beside the card."""


def reproducing(settings: Sequence[Mapping[str, Any]]) -> str:
    """The command that trains the same again, in words of Markdown; or why there is none."""
    first, seeds = settings[0], [int(each["seed"]) for each in settings]
    if first.get("environment_is_callable"):
        return f"It was trained from Python, in an environment that Python made (`{first['environment']}`)."
    words = ["polyak", "train", str(first["algorithm"]), str(first["environment"])]
    if first.get("preset"):
        words.append(f"--preset={first['preset']}")
    words += [f"--seed={seeds[0]}"] if len(seeds) == 1 else [f"--seeds={','.join(map(str, sorted(seeds)))}"]
    words.append(f"--backend={first.get('backend', 'jax')}")
    default = Options()
    options = {name: _as_given(first[name]) for name in KINDS if name in first and name not in MACHINE}
    words += option_words({name: value for name, value in options.items() if value != getattr(default, name)})
    words += words_of(_own_settings(first))
    text = f"```console\n$ {shlex.join(words)}\n```"
    notes = [
        note
        for there, note in (
            (first.get("from_run"), "It went on from another run's learner, which is not here."),
            (first.get("resumed"), "It was resumed; what was changed then is in `settings.json`."),
            (not is_built_in(str(first["algorithm"])), f"Its algorithm is a module, `{first['algorithm']}`."),
        )
        if there
    ]
    return "\n\n".join([text, *notes])


def _own_settings(described: Mapping[str, Any]) -> dict[str, Any]:
    """Its settings where they are others than the preset's, which somebody else has as well."""
    own = {name: _as_given(value) for name, value in described["settings"].items() if value is not None}
    try:
        named = str(described["algorithm"]), str(described["environment"])
        config = planned(*named, None, Options(preset=described.get("preset")), {}).config
    except UsageError:  # a preset's file, or an algorithm, of the machine that trained it
        return own
    return {name: value for name, value in own.items() if value != getattr(config, name, None)}


def _as_given(value: Any) -> Any:
    """A value as a setting or an option has it, of what JSON makes of it."""
    return tuple(cast("list[Any]", value)) if isinstance(value, list) else value


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else "?"
