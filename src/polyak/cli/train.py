"""`polyak train ALGORITHM ENVIRONMENT [...]`: train a policy; the run's folder is the only line on standard output.

With `--seeds`, a run for each seed (see many.py).
"""

from polyak.algorithms import names
from polyak.cli import driver
from polyak.cli.apart import PrintsFolder, environments_apart
from polyak.cli.named import with_from_named
from polyak.cli.request import Request, parse
from polyak.errors import UsageError
from polyak.run import start
from polyak.views.choice import make_view

USAGE = f"""usage: polyak train ALGORITHM ENVIRONMENT [options]

  ALGORITHM    {", ".join(names())}, or a module of your own, as my_folder.my_algorithm
  ENVIRONMENT  a Gymnasium id such as Pendulum-v1, or module:Id

`polyak train sac Pendulum-v1 --help` lists every option, with the values that its preset puts in force."""


def main(arguments: list[str]) -> int:
    """Parse, train, and leave the rest to the run's folder."""
    if arguments[:1] in (["-h"], ["--help"]) or arguments[1:] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if len(arguments) < 2 or arguments[0].startswith("-") or arguments[1].startswith("-"):
        raise UsageError("train needs ALGORITHM ENVIRONMENT first, as in: polyak train sac Pendulum-v1 --seed 1")
    name, environment, *rest = with_from_named(arguments)
    request = parse(name, environment, rest)
    if request.options.on is not None and not driver.is_watched():
        return driver.drive(["train", *arguments])
    if request.many.together:
        from polyak.cli import together

        return together.train_seeds(request, rest)
    if request.many.seeds is not None:
        from polyak.cli import many

        return many.train_seeds(request, rest)
    for name, given in (("jobs", request.many.jobs), ("gpus", request.many.gpus)):
        if given is not None:
            raise UsageError(f"{name} is {given}, but there is one run, in this process: give seeds, as --seeds 0-4")
    _train(request)
    return 0


def _train(request: Request) -> None:
    run_dir = request.options.run_dir
    with environments_apart(run_dir.absolute()) as prints:
        start.train(request.plan, PrintsFolder(prints, make_view(prints.errors, plain=request.many.plain), run_dir))
