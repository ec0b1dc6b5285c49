"""Who imports whom: data flows one way and so do imports, and nobody pays for a framework that was not asked for."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

import polyak
from backends import frameworks_of
from polyak.algorithms import NAMES
from tiny_cli import PATIENCE, process_environment, untrained_run

SOURCE = Path(polyak.__file__).parent
FRAMEWORKS = {"flax", "jax", "jaxlib", "keras", "optax", "tensorflow", "torch"}

# What a module may import from polyak: a room's rule, or that of a module in it; the longest name that fits decides.
# Rooms stand in their order: each knows those above it. `tracking` lies within `run`: it knows a run's folder and its
# records, and a run that starts or goes on begins it, because that is one call, where a callback handed in at the door
# would be an argument of every function on the way.
RUN = {
    *("types", "errors", "system", "settings", "networks", "environments", "algorithm", "algorithms"),
    *("frameworks", "policies", "experience", "run"),
}
ACTING = {
    *("algorithm", "types", "errors", "system", "networks", "settings.kinds", "settings.shared"),
    *("environments.parts", "environments.values"),  # NumPy alone, as all of this is
    *("policies.policy", "policies.contents", "policies.distribution", "policies.normalizer", "policies.observed"),
}
ALLOWED = {
    "errors": set[str](),
    "types": {"errors"},
    "system": {"types", "errors", "system"},
    "settings": {"errors", "networks", "settings"},
    "settings.demonstrated": {"types", "settings.kinds"},
    "settings.spaces": {"algorithm", "errors", "system", "settings.kinds", "settings.names"},
    "settings.presets.verified": {"settings.shared"},
    "settings.presets": {"algorithm", "errors", "system", "settings.names", "algorithms"},
    "networks": {"types", "networks"},
    "environments": {"types", "errors", "system", "settings.kinds", "settings.options", "environments"},
    "environments.parts": {"types", "environments.values"},
    "environments.values": {"types"},
    "draws": {"types"},
    "algorithm": {"types", "draws", "networks", "settings.shared"},
    "algorithms": {"algorithm", "types", "networks", "errors", "system", "settings", "algorithms"},
    **{  # a page may call what another algorithm's has in the same framework
        f"algorithms.{name}.with_{framework}": {
            *("algorithm", f"algorithms.{name}", "frameworks.state", f"frameworks.{framework}"),
            *(f"algorithms.{each}.with_{framework}" for each in NAMES if framework in frameworks_of(each)),
        }
        for name in NAMES
        for framework in frameworks_of(name)
    },
    "algorithms.trial": {"algorithm", "algorithms.checks", "errors", "frameworks", "settings", "system", "types"},
    "frameworks": {"algorithm", "draws", "types", "networks", "errors", "settings.shared", "frameworks"},
    "frameworks.execution": {"draws", "types", "errors", "system", "settings"},
    "frameworks.torch.device": {
        "errors",
        "frameworks.execution",
        "system.memory",
        "system.threads",
    },  # the process's own
    "policies": {"algorithm", "types", "errors", "system", "settings", "networks", "environments", "policies"},
    **{f"policies.{name}": ACTING for name in ("policy", "contents", "distribution", "observed")},
    "policies.normalizer": {"types", "settings.kinds"},
    "experience": {
        *("types", "errors", "system", "policies.policy", "policies.normalizer", "experience"),
        *("environments.stepping", "environments.infos", "environments.elsewhere"),
        *("environments.worker", "environments.workers"),  # processes that report what goes wrong in them
    },
    **{f"experience.{name}": {"types", "errors", "system", "experience"} for name in ("replay", "choosers")},
    "experience.batches": {"types", "errors", "settings.shared", "policies.normalizer", "experience"},
    "experience.moments": {"types", "policies.normalizer", "experience.replay"},
    "experience.links": {"types"},
    **{
        f"experience.{name}": {
            *("types", "errors", "system", "settings.demonstrated"),
            *("experience.replay", "experience.links", "experience.datasets", f"experience.{name}"),
            *("environments.parts", "environments.values"),  # NumPy alone: no environment is made
        }
        for name in ("datasets", "minari")
    },
    "run": RUN,
    "run.collecting": {*RUN, "many.cluster"},  # which knows nothing of runs, and is where Ray is joined for all
    "run.plan": {*RUN, "tracking"},
    "run.start": {*RUN, "tracking"},
    "run.resume": {*RUN, "tracking"},
    "run.checkpoints": {
        *("types", "errors", "system", "run.checkpoints"),
        *("experience.links", "experience.replay", "experience.datasets"),
    },
    "run.metrics": {"errors", "system", "run.description"},
    "run.origin": {
        *("errors", "system", "settings.kinds", "environments", "algorithm", "algorithms", "policies"),
        "run.description",
    },
    "run.folder": {
        *("errors", "system", "settings.kinds", "settings.door", "environments", "policies", "types"),
        *("run.description", "run.metrics", "run.learned", "run.origin"),
    },
    "run.mirror": {
        *("errors", "system", "settings.kinds"),
        *("run.checkpoints", "run.description", "run.folder", "run.mirror"),
    },
    "run.mirror.sending": {
        *("errors", "system", "environments.history", "run.checkpoints", "run.folder", "run.mirror"),
    },
    "run.mirror.going_on": {
        *("errors", "system", "environments.history"),
        *("run.changes", "run.checkpoints", "run.description", "run.folder", "run.mirror"),
    },
    "run.learned": {
        *("types", "errors", "settings.shared", "networks", "algorithm", "algorithms.checks"),
        *("experience.batches", "policies.normalizer", "run.checkpoints"),
    },
    "run.callbacks.view": {
        *("errors", "types", "settings.shared", "experience.collector", "policies.policy"),
        *("run.collecting", "run.learning", "run.ledger", "run.metrics", "run.plan", "run.progress"),
    },
    "callbacks": {
        *(
            "errors",
            "system",
            "settings.kinds",
            "environments.additions",
            "environments.handed",
            "environments.make",
            "policies.evaluation",
        ),
        "run.callbacks.view",
    },
    "tracking": {"errors", "system", "settings.options", "run.metrics", "run.folder"},
    "many": {"errors", "system", "settings", "frameworks", "run", "many"},
    "many.cluster": {"errors", "system", "many.travelling"},
    "many.travelling": {"errors", "system"},
    "many.places": set(),
    "many.local": {"many.places"},
    "many.sweep": {
        *("errors", "system", "settings.kinds", "run.description", "run.metrics", "run.folder"),
        *("many.places", "many.local", "many.sweep"),
    },
    "many.words": {"settings.options"},
    "many.tune": {"algorithm", "errors", "system", "settings", "run", "many"},
    "deploy": set[str](),
    "deploy.drive": {*RUN, "deploy.drive"},
    "deploy.driving": {*RUN, "deploy.drive"},
    "deploy.export": {
        *("types", "errors", "system", "settings", "algorithm", "networks", "environments", "policies"),
        *("run.folder", "run.runs", "run.seen", "deploy.export"),
    },
    "deploy.hub": {
        *("errors", "system", "settings", "algorithms", "environments.handed", "run", "many.words", "report"),
        *("deploy.export", "deploy.hub"),
    },
    "views": {"errors", "settings.kinds", "algorithms", "run", "many", "views", "deploy"},
    "html": {"errors", "system"},
    "report": {
        "errors",
        "system",
        "algorithms",
        "html",
        "run.description",
        "run.folder",
        "run.origin",
        "run.metrics",
        "settings.kinds",
        "settings.door",
        "report",
    },
    "report.tuning": {"errors", "algorithms", "html", "many.tune.outcome"},
    "lessons": {"errors", "html", "system", "algorithm", "lessons"},
    "training": {"types", "settings", "environments.handed", "run", "many", "views"},
    "tuning": {"errors", "settings", "run", "many", "views", "cli.tune"},
    "parts": {
        *("types", "errors", "system", "settings", "environments", "algorithm", "algorithms", "frameworks"),
        *("policies", "experience", "run.plan", "run.learning", "run.collecting"),
    },
}
ANYTHING = ("__init__", "__main__", "cli")
"""Who may import whatever there is."""


# By running


def imported_by(*statements: str) -> list[set[str]]:
    """What each statement, one after another in one fresh process, adds to sys.modules: whole names."""
    program = f"""
import json, sys
added = []
for statement in {statements!r}:
    before = set(sys.modules)
    exec(statement)
    added.append(sorted(set(sys.modules) - before))
print(json.dumps(added))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=process_environment(), check=True, capture_output=True, text=True, timeout=PATIENCE
    )
    return [set(names) for names in json.loads(done.stdout)]


def packages(modules: set[str]) -> set[str]:
    """The packages among modules: neither the standard library's nor helpers of Cython's."""
    tops = {name.partition(".")[0] for name in modules}
    return {top for top in tops - sys.stdlib_module_names - {"cython_runtime"} if not top.startswith("_")}


def test_each_import_brings_no_more_than_it_needs() -> None:
    alone, what, data, world, reading = imported_by(
        "import polyak; dir(polyak); polyak.__version__",
        "import polyak.types, polyak.networks, polyak.algorithms.ddpg, polyak.algorithms.td3, polyak.algorithms.sac",
        "import polyak.experience.replay, polyak.system.files, polyak.system.randomness; polyak.Policy",
        "import polyak; polyak.parts.make_learner, polyak.callbacks.StopWhen",
        "import polyak.run.folder, polyak.run.progress, polyak.training; polyak.load, polyak.Run, polyak.train",
    )
    assert packages(alone) <= {"polyak", "numpy"}
    assert packages(what) <= {"polyak", "numpy"}
    assert "polyak.algorithms.sac" in what
    assert packages(data) <= {"polyak", "numpy", "psutil", "safetensors"}
    assert "gymnasium" in packages(world)
    assert not FRAMEWORKS & packages(world)
    assert not FRAMEWORKS & packages(reading)
    assert "matplotlib" not in packages(reading)


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
def test_a_chosen_framework_brings_no_other(backend: str) -> None:
    """With the others hidden, so that not even a look for them succeeds, it learns."""
    others = FRAMEWORKS - {backend, "jaxlib" if backend == "jax" else "", "keras" if backend == "tensorflow" else ""}
    train = f"polyak.train('ddpg', 'Pendulum-v1', backend={backend!r}, threads=1, run_dir=FOLDER, **SMALL)"
    (added,) = imported_by(
        f"""
import sys, tempfile
sys.modules |= dict.fromkeys({sorted(others)!r})
import polyak
FOLDER = tempfile.mkdtemp()
SMALL = dict(steps=20, start_steps=10, update_after=10, update_every=10, batch_size=4, hidden_sizes=(4,))
SMALL |= dict(steps_per_epoch=20, max_episode_steps=5, probe=False)
run = {train}
assert run.metrics[-1]["learner/updates"] > 0
"""
    )
    assert backend in packages(added)


def test_the_event_file_brings_no_framework_and_hides_none() -> None:
    """tensorboardX imports PyTorch and boto3 wherever it finds them, in the start of every run."""
    written, after = imported_by(
        """
import pathlib, tempfile
from polyak.run.metrics import MetricsWriter
with MetricsWriter(pathlib.Path(tempfile.mkdtemp())) as writer:
    writer.write({"step": 1.0, "seconds": 1.0, "eval/return": 2.0})
""",
        "import torch",
    )
    assert "tensorboardX" in packages(written)
    assert not (FRAMEWORKS | {"boto3", "botocore"}) & packages(written)
    assert "torch" in packages(after)


def test_tensorflow_is_imported_without_its_remarks() -> None:
    """It writes a page about processors and GPUs otherwise; what it said is kept."""
    program = """
from polyak import frameworks
print(frameworks.describe("tensorflow"))
from polyak.frameworks.tensorflow.quiet import said
print(len(said))
"""
    command = [sys.executable, "-c", program]
    environment = {name: value for name, value in process_environment().items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=PATIENCE)
    description, lines = done.stdout.splitlines()
    assert "CPU" in description
    assert int(lines) > 0
    assert done.stderr == ""


def test_what_tensorflow_says_before_it_fails_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    from polyak.frameworks.tensorflow.quiet import quietly, said

    with quietly():
        os.write(2, b"a remark\n")
    assert said[-1] == "a remark"

    def fail() -> None:
        with quietly():
            os.write(2, b"the reason\n")
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the reason\nafterwards\n"


def test_policy_of_a_run_acts_without_framework_and_gymnasium(tmp_path: Path) -> None:
    run = untrained_run(tmp_path)
    program = f"""
import sys
for name in {sorted(FRAMEWORKS | {"gymnasium", "matplotlib", "rich", "tyro"})!r}:
    sys.modules[name] = None
import polyak
run = polyak.load({str(run.folder)!r})
print(run.policy.act([0.5, 2.0]).tolist(), len(run.metrics), run.settings["seed"])
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=process_environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{run.policy.act([0.5, 2.0]).tolist()} 2 0\n"


# By reading


def modules() -> dict[str, ast.Module]:
    """Every module's name without `polyak.`, and its source."""
    found: dict[str, ast.Module] = {}
    for file in sorted(SOURCE.rglob("*.py")):
        parts = file.relative_to(SOURCE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below that run: not those which only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from running(child)


def imports(tree: ast.Module, nodes: Callable[[ast.AST], Iterator[ast.AST]] = running) -> set[str]:
    """What a module imports, also inside functions; `a.b` for `from a import b` where that is a module."""
    found: set[str] = set()
    for node in nodes(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name.removeprefix("polyak.") in MODULES else str(node.module) for name in inner}
    return found


def ours_in(names: set[str]) -> set[str]:
    return {each.removeprefix("polyak.") for each in names if each.startswith("polyak.")}


def ours(name: str) -> set[str]:
    return ours_in(imports(MODULES[name]))


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def forbidden(name: str) -> set[str]:
    """What a module imports of polyak although it may not."""
    if any(within(name, free) for free in ANYTHING):
        return set()
    rule = max((prefix for prefix in ALLOWED if within(name, prefix)), key=len)
    return {other for other in ours(name) if not any(within(other, allowed) for allowed in ALLOWED[rule])}


def test_imports_point_one_way() -> None:
    assert {name: wrong for name in MODULES if (wrong := forbidden(name))} == {}


def circles(arrows: Mapping[str, set[str]]) -> list[set[str]]:
    """The modules that lead back to themselves, circle by circle: the strongly connected components (Tarjan 1972)."""
    number, lowest = dict[str, int](), dict[str, int]()
    way, found = list[str](), list[set[str]]()

    def visit(name: str) -> None:
        number[name] = lowest[name] = len(number)
        way.append(name)
        for other in arrows[name]:
            if other not in number:
                visit(other)
            if other in way:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == number[name]:
            found.append({way.pop() for _ in range(len(way) - way.index(name))})

    for name in arrows:
        if name not in number:
            visit(name)
    return [circle for circle in found if len(circle) > 1]


def test_no_circle_of_files() -> None:
    """Not even by imports within functions, or for type checkers alone."""
    assert circles({"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"b"}, "e": {"a", "e"}}) == [{"a", "b", "c", "d"}]
    trees = {name: tree for name, tree in MODULES.items() if name != "__init__"}  # which imports names as they are used
    assert (
        circles({name: ours_in(imports(tree, ast.walk)) & trees.keys() - {name} for name, tree in trees.items()}) == []
    )


def test_frameworks_are_imported_by_their_learners_only() -> None:
    for name, tree in MODULES.items():
        found = FRAMEWORKS & {each.partition(".")[0] for each in imports(tree)}
        page = name.rpartition(".with_")[2] if within(name, "algorithms") else ""
        owner = name.split(".")[1] if within(name, "frameworks") and "." in name else page
        owner = "torch" if name == "policies.sb3.weights" else owner  # whose file that is
        assert found <= {owner}, f"{name} imports {found}"
    assert {"jax", "torch", "tensorflow"} <= {each for tree in MODULES.values() for each in imports(tree)}


def test_every_rule_is_about_a_module_that_exists() -> None:
    for rule, allowed in ALLOWED.items():
        assert rule in MODULES
        for name in allowed:
            assert name in MODULES, f"{rule}: {name}"
    assert ours("algorithms.sac.with_jax")
    assert "training" in ours("cli.resume")


def spoken(tree: ast.Module) -> Iterator[str]:
    """Names and texts in code, without docstrings and without command lines that are given as examples."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield re.sub(r"polyak (train|compare|tune) .*", "", node.value)
        for name in ("id", "attr", "arg", "name", "module"):
            yield str(getattr(node, name, ""))


def algorithms_named(tree: ast.Module) -> set[str]:
    return {text for text in spoken(tree) if re.search(r"(?<![a-z])(ddpg|td3|sac)(?![a-z])", text.lower())}


def test_no_code_outside_names_an_algorithm() -> None:
    """So that a new one is its folder; but for lessons, which are on SAC, and for how another library names its own."""
    free = ("algorithms", "lessons", "policies.sb3")
    others = {name: tree for name, tree in MODULES.items() if not any(within(name, each) for each in free)}
    assert {name: named for name, tree in others.items() if (named := algorithms_named(tree))} == {}
    assert algorithms_named(ast.parse("'sac'\nfrom polyak.algorithms.sac import x")) == {"polyak.algorithms.sac"}
    assert algorithms_named(ast.parse("if name == 'sac': f('polyak train td3 x')")) == {"sac"}
