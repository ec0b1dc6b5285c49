"""Tables of what the benchmarks measured, from the files in docs/results."""

import json
import statistics
from pathlib import Path
from typing import Any

from polyak.algorithms import titled

RESULTS = Path(__file__).parents[1] / "results"
COLLECTORS = RESULTS / "collectors.json"
DRIVE = RESULTS / "drive.json"
WAYS = ("collect", "step", "round")
PEERS_FILE = "peers.json"
PEERS = ("Stable-Baselines3", "SBX")
AGAINST = [(ours, theirs) for ours in ("polyak", "polyak lag 1") for theirs in PEERS] + [("polyak torch", PEERS[0])]
"""Whose speed is divided by whose."""
OF_THE_LIMIT = ("polyak", "polyak lag 1", "SBX")


def speeds(environment: str) -> str:
    """Steps a second: a row for each number of environments, a column for each way and vectorization.

    Raises:
        ValueError: nothing was measured in this environment.
    """
    rows = [row for row in _measured()["rows"] if row["environment"] == environment]
    if not rows:
        raise ValueError(f"docs/results/environments.json has nothing about {environment}")
    found = {(row["envs"], row["way"], row["vectorization"]): f"{row['steps_per_second']:,}" for row in rows}
    columns = sorted({key[1:]: None for key in found}, key=lambda column: WAYS.index(column[0]))
    counts = sorted({count for count, *_ in found})
    body = [[str(count), *(found.get((count, *column), "") for column in columns)] for count in counts]
    table = [["N", *map(": ".join, columns)], ["---:"] * (len(columns) + 1), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in table)


def collectors() -> str:
    """Transitions a second of many slow environments, and the learner's time for each."""
    if not COLLECTORS.exists():
        return "Nothing has been measured yet: `python benchmarks/collectors.py` does."
    head = ["environments", "a step takes", "how", "steps a round", "transitions a second", "of ideal", "learner's"]
    body: list[list[str]] = []
    for row in sorted(
        json.loads(COLLECTORS.read_text(encoding="utf-8"))["rows"],
        key=lambda row: (row["seconds_a_step"], row["varies"], row["environments"]),
    ):
        ideal = "" if row["of_ideal"] is None else f"{100 * row['of_ideal']:.0f} %"
        pace = f"{1000 * row['seconds_a_step']:g} ms{', varying' if row['varies'] else ''}"
        speed, cost = f"{row['transitions_per_second']:,.0f}", f"{row['learner_microseconds']:.0f} µs"
        body.append([str(row["environments"]), pace, row["way"], str(row["steps_a_round"]), speed, ideal, cost])
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---:", "---", "---", *["---:"] * 4], *body])


def collectors_setting() -> str:
    """Where that was measured."""
    if not COLLECTORS.exists():
        return ""
    told = json.loads(COLLECTORS.read_text(encoding="utf-8"))["setting"]
    return (
        f"{told['processor']}, {told['cores']} cores, Python {told['python']}, the median of {told['rounds']} rounds; "
        "[raw numbers](results/collectors.json)."
    )


def drive() -> str:
    """How late the steps of a control loop began, and how fast a learner beside it was."""
    if not DRIVE.exists():
        return "Nothing has been measured yet: `python benchmarks/drive.py` does."
    told = json.loads(DRIVE.read_text(encoding="utf-8"))
    setting = told["setting"]
    limit = f"at most {1000 * setting['late']:g} ms late"
    head = ["", "p50", "p99", "worst", limit, "late policies", "overruns", "updates a second"]
    body: list[list[str]] = []
    for row in told["rows"]:
        late = [f"{row[name]:.2f} ms" if name in row else "" for name in ("p50", "p99", "worst")]
        share = f"{row['within']:.2%}" if "within" in row else ""
        counts = [str(row.get(name, "")) for name in ("late", "overruns")]
        speed = f"{row['updates_per_second']:.0f}" if "updates_per_second" in row else ""
        body.append([row["way"], *late, share, *counts, speed])
    table = "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---", *["---:"] * 7], *body])
    return (
        f"{table}\n\nPendulum-v1 at {setting['rate']:g} Hz, SAC in JAX {setting['jax']} with four updates a step, "
        f"{setting['processor']}, {setting['cores']} cores, Python {setting['python']}, the median of "
        f"{setting['rounds']} rounds of {setting['seconds']:g} s; [raw numbers](results/drive.json)."
    )


def setting() -> str:
    """What the speeds were measured with, and how far the rounds were apart."""
    measured = _measured()
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    rounds = min(row["rounds"] for row in measured["rows"])
    spreads = sorted((row["highest"] - row["lowest"]) / row["steps_per_second"] for row in measured["rows"])
    return (
        f"`{measured['command']}`, {measured['machine']['cores']} cores, {versions}. Each number is the median of "
        f"{rounds} rounds; highest less lowest is {spreads[len(spreads) // 2]:.0%} of it in the middle of all rows, "
        f"{spreads[-1]:.0%} at most."
    )


def _measured() -> dict[str, Any]:
    return json.loads((RESULTS / "environments.json").read_text(encoding="utf-8"))


def a_step() -> str:
    """What a step costs when nothing is learned, in microseconds: a row for each case, by parts, and beside before."""
    head = ["", "alone", "environment", "acting", "replay", "step", "polyak's own", "before", "own, now / before"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for case in _a_step()["cases"]:
        now, ratio = case["now"], case["polyak_ratio"]
        name, envs = case["environment"].partition("-")[0], case["envs"]
        cells = [f"{now[part]:.1f}" for part in ("alone", "environment", "acting", "replay", "step", "polyak")]
        spread = f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"
        lines.append([f"{name}, N = {envs}", *cells, f"{case['before']['polyak']:.1f}", spread])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def a_step_setting() -> str:
    """With what that was measured."""
    about = _a_step()
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    return (
        f"`{about['command']}` on {about['processor']}, {versions}: medians of {about['rounds']} pairs of runs of "
        f"{about['steps']:,} steps."
    )


def _a_step() -> dict[str, Any]:
    return json.loads((RESULTS / "step.json").read_text(encoding="utf-8"))


def peers(rhythm: str, envs: str) -> str:
    """Steps a second beside the peers, and how many times theirs polyak's are: a row for each case.

    Raises:
        ValueError: no such case was measured.
    """
    cases = _cases(rhythm, envs)
    names = list(dict.fromkeys(name for result in cases.values() for name in result["contenders"]))
    head = ["", *names, "limit"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for (algorithm, environment), result in cases.items():
        cells = [_peer(result["contenders"].get(name)) for name in names]
        updates = result.get("updates", result["steps"]) / result["steps"]  # of each environment step
        limit = 1e3 / result["limit_milliseconds"]["median"] / updates
        lines.append([f"{titled(algorithm)}, {environment.partition('-')[0]}", *cells, f"{limit:.0f}"])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def peers_against(rhythm: str, envs: str, file: str = PEERS_FILE) -> str:
    """How many times as fast as two peers, and which fraction of the limit: median, lowest and highest round.

    `file` is what the measurement wrote, in docs/results.

    Raises:
        ValueError: no such case was measured.
    """
    head = ["", *map(" / ".join, AGAINST), *(f"{name} / limit" for name in OF_THE_LIMIT)]
    head = [
        text.replace("polyak lag", "lag").replace("polyak torch", "torch").replace(PEERS[0], "SB3") for text in head
    ]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for (algorithm, environment), result in _cases(rhythm, envs, file).items():
        seconds, updates = result["seconds"], result.get("updates", result["steps"])
        cells = [_quotient(seconds.get(theirs), seconds.get(ours), 1.0, ".2f") for ours, theirs in AGAINST]
        cells += [_quotient(result["limit_seconds"], seconds.get(name), updates, ".0%") for name in OF_THE_LIMIT]
        lines.append([f"{titled(algorithm)}, {environment.partition('-')[0]}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def products(*files: str) -> str:
    """How many times as long an update in PyTorch takes with oneDNN as with MKL: a row a file, by its threads."""
    found = [json.loads((RESULTS / file).read_text(encoding="utf-8")) for file in files]
    names = [name for name in found[0] if name != "settings"]
    lines = [["threads", *map(titled, names)], ["---", *["---:"] * len(names)]]
    for each in found:
        fractions = (each[name]["contenders"]["torch oneDNN"]["fraction_of_limit"] for name in names)  # of MKL's speed
        lines.append([str(each["settings"]["threads"]), *(f"{1 / fraction:.2f}" for fraction in fractions)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _quotient(above: list[float] | None, below: list[float] | None, factor: float, form: str) -> str:
    """The rounds' median, lowest and highest; nothing where one did not take part."""
    if above is None or below is None:
        return ""
    rounds = [factor * a / b for a, b in zip(above, below, strict=True)]
    return f"{statistics.median(rounds):{form}} ({min(rounds):{form}} to {max(rounds):{form}})"


def peers_apart(what: str) -> str:
    """What was measured besides speed, such as `startup`: a row for each contender, a column for each number.

    Raises:
        ValueError: it was not measured.
    """
    measured = _peers().get(what)
    if measured is None:
        raise ValueError(f"docs/results/peers.json has nothing about {what}")
    rows: dict[str, Any] = measured["contenders"]
    found = dict.fromkeys(key for row in rows.values() for key in row)
    keys = [key for key in found if not key.endswith("_times_polyak")]
    lines = [["", *(key.replace("_", " ") for key in keys)], ["---", *["---:"] * len(keys)]]
    for name, row in rows.items():
        lines.append([name, *(_number(row.get(key)) for key in keys)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def peers_setting(file: str = PEERS_FILE) -> str:
    """With what the peers were measured."""
    about = _peers(file)
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"]["the peers'"].items())
    processors = sorted({result.get("processor", about["machine"]["processor"]) for result in about["cases"].values()})
    cores, threads = about["machine"]["cores"], about["machine"]["threads"]
    return f"{' and '.join(processors)}; {cores} cores, {threads} threads for each; {versions}."


def _cases(rhythm: str, envs: str, file: str = PEERS_FILE) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for name, result in _peers(file)["cases"].items():
        algorithm, environment, *rest = name.split()
        if rest == [rhythm, envs]:
            found[algorithm, environment] = result
    if not found:
        raise ValueError(f"docs/results/{file} has no case {rhythm} {envs}")
    return found


def _peer(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    speed = f"{row['steps_per_second']['median']:.0f}"
    return f"{speed} ({row['ratio']['median']:.2f} x)" if "ratio" in row else f"**{speed}**"


def _number(value: Any) -> str:
    if isinstance(value, dict):
        return f"{value['median']:,.4g} ({value['lowest']:,.3g} to {value['highest']:,.3g})"
    return "" if value is None else f"{value:,}"


def _peers(file: str = PEERS_FILE) -> dict[str, Any]:
    return json.loads((RESULTS / file).read_text(encoding="utf-8"))
