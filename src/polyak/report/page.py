"""The report: one HTML file that opens from disk, with curves and video inside it."""

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from polyak.files import prepare_to_write, write_atomically
from polyak.metrics import Record, best_evaluation
from polyak.report import curves
from polyak.runs import Run

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr { border-bottom: 1px solid #8884; } video { width: 100%; max-width: 36rem; background: #000; }
.curves { background: #fff; border-radius: 6px; padding: .5rem; } .curves svg { width: 100%; height: auto; }
.scroll { overflow-x: auto; }
"""


def write_report(run: Run, output: Path | None = None) -> Path:
    """Write the page about a run, by default as its `report.html`, and return the path.

    Raises:
        UsageError: the folder holds no run, or the page cannot be written.
    """
    path = output or run.report_file
    prepare_to_write(path)
    write_atomically(path, page(run).encode())
    return path


def page(run: Run) -> str:
    """The whole page."""
    settings, records = run.settings, run.metrics
    title = f"{settings['algorithm'].upper()} on {settings['environment']}, seed {settings['seed']}"
    parts = [f"<h1>{html.escape(title)}</h1>", _summary(run, records), "<h2>Curves</h2>"]
    parts.append(f'<div class="curves">{curves.svg(records)}</div>' if records else "<p>No metrics yet.</p>")
    parts += [_videos(run), "<h2>Evaluations</h2>", _evaluations(records)]
    parts += ["<h2>Settings</h2>", _table(settings["settings"].items())]
    parts += ["<h2>Versions and machine</h2>", _table({**settings["versions"], **settings["machine"]}.items())]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _summary(run: Run, records: list[Record]) -> str:
    settings = run.settings
    best = best_evaluation(records)
    facts = {
        "preset": settings["preset"],
        "framework": f"{settings['backend']}, {settings['threads']} thread{'s' * (settings['threads'] != 1)}",
        "environments": f"{settings['envs']} ({settings['vectorization']})",
        "steps": f"{int(records[-1]['step']):,} of {settings['settings']['steps']:,}" if records else "none",
        "time": f"{records[-1]['seconds']:.0f} s" if records else "none",
        "best evaluation": f"{best[1]:.1f} at step {best[0]:,}" if best else "none",
        "folder": run.folder.resolve().name,
    }
    return _table(facts.items())


def _videos(run: Run) -> str:
    films = sorted(run.videos.glob("*.mp4"))
    if not films:
        return ""
    shown = "".join(
        f'<figure><video controls muted loop playsinline src="data:video/mp4;base64,{_base64(film)}"></video>'
        f"<figcaption>{html.escape(film.name)}</figcaption></figure>"
        for film in films
    )
    return f"<h2>Video</h2>{shown}"


def _base64(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()


def _evaluations(records: Iterable[Record]) -> str:
    rows = "".join(
        f'<tr><td class="number">{int(record["step"]):,}</td><td class="number">{record["eval/return"]:.1f}</td>'
        f'<td class="number">{_number(record, "eval/return_std")}</td>'
        f'<td class="number">{_number(record, "eval/length")}</td></tr>'
        for record in records
        if "eval/return" in record
    )
    head = "<tr><th>step</th><th>mean return</th><th>std over episodes</th><th>mean length, steps</th></tr>"
    return f'<div class="scroll"><table>{head}{rows}</table></div>'


def _number(record: Record, name: str) -> str:
    return f"{record[name]:.1f}" if name in record else ""  # records leave out what is not finite


def _table(rows: Iterable[tuple[str, Any]] | Mapping[str, Any]) -> str:
    cells = "".join(
        f"<tr><td>{html.escape(str(name))}</td><td>{html.escape(str(value))}</td></tr>" for name, value in rows
    )
    return f'<div class="scroll"><table>{cells}</table></div>'
