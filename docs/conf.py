"""Sphinx: Markdown pages, and the API reference from docstrings. Build with warnings as errors."""

import re
from typing import Any

from hwgen.version import __version__

project = "hwgen"
author = "the hwgen authors"
copyright = author  # noqa: A001  (Sphinx's name)
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3

# Options begin with two hyphens, which must stay two.
smartquotes = False

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["hwgen.css"]
html_title = f"hwgen {release}"
html_show_copyright = False
html_show_sphinx = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_type_aliases = {
    name: name for name in ("npt.ArrayLike", "Array", "Codes", "Folding", "Op", "Real", "Ints", "Source", "Part")
}
autodoc_default_options = {"members": True, "show-inheritance": True}

LITERAL = re.compile(r"`+[^`]+`+")


def _escape(text: str) -> str:
    """Docstrings are plain text with `code` in backticks: keep the code, escape what reStructuredText would read."""
    parts, end = [], 0
    for found in LITERAL.finditer(text):
        parts += [re.sub(r"([*|\\_])", r"\\\1", text[end : found.start()]), f"``{found[0].strip('`')}``"]
        end = found.end()
    return "".join([*parts, re.sub(r"([*|\\_])", r"\\\1", text[end:])])


def docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Plain text to reStructuredText, in place: one blank line ahead of each indented part and of each "name: text"."""
    del app, what, name, obj, options
    done: list[str] = []
    for line in _escape("\n".join(lines)).split("\n"):
        indent = len(line) - len(line.lstrip())
        before = len(done[-1]) - len(done[-1].lstrip()) if done else 0
        if done and done[-1] and line and (indent != before or re.match(r"\s*[\w, ]+: ", line)):
            done.append("")
        done.append(line)
    lines[:] = done


def signature(
    app: Any, what: str, name: str, obj: Any, options: Any, arguments: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Names of type aliases as they are written, also inside other types."""
    del app, what, name, obj, options
    alias = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")
    shown = [text and alias.sub(r"\1", text) for text in (arguments, returns)]
    return shown[0], shown[1]


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", signature)
    app.connect("autodoc-process-docstring", docstring)
