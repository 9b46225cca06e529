"""The report as files: JSON for programs, Markdown for terminals and reviews, HTML for reading and printing."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from hwgen.ir.figure import Figure
from hwgen.report.model import Report
from hwgen.tools.files import write_atomic

if TYPE_CHECKING:
    from jinja2 import Environment, Template


def write(report: Report, folder: Path | str) -> tuple[Path, Path, Path]:
    """Write report.json, report.md and report.html into `folder`; gives their paths. Each is whole or not there.

    Raises ToolMissingError if matplotlib, which draws the plots of the HTML, is not installed: the other two are
    written then, and an HTML file of an older report is removed rather than left to contradict them.
    """
    folder = Path(folder)
    paths = folder / "report.json", folder / "report.md", folder / "report.html"
    write_atomic(paths[0], json.dumps(report.to_json(), indent=1) + "\n")
    write_atomic(paths[1], markdown(report))
    paths[2].unlink(missing_ok=True)
    write_atomic(paths[2], html(report))
    return paths


def markdown(report: Report) -> str:
    """The report as Markdown (GitHub's tables)."""
    return _template("report.md.j2").render(r=report)


def html(report: Report) -> str:
    """The report as one HTML page with everything inside it; raises ToolMissingError without matplotlib."""
    from hwgen.report.plots import plots

    return _template("report.html.j2").render(r=report, plots=plots(report))


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("hwgen.report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, maybe=maybe, cell=cell)
    return environment


def _template(name: str) -> Template:
    return _environment().get_template(name)


def percent(fraction: float | None) -> str:
    """A share for people; "not known" for None."""
    if fraction is None:
        return "not known"
    # 99.97 % of anything must not be printed as 100 %.
    digits = 2 if 0.999 <= fraction < 1 else 1
    return f"{100 * fraction:.{digits}f} %"


def number(figure: Figure) -> str:
    """A figure's number without its unit; "not known" for None."""
    return Figure(figure.value, figure.source).text()


def maybe(value: object) -> str:
    """Text of a value that may be None (printed as a dash: the layer has no such thing)."""
    return "–" if value is None else str(value)  # noqa: RUF001


def cell(text: object) -> str:
    """Text for a Markdown table's cell."""
    return str(text).replace("|", "\\|").replace("\n", " ")
