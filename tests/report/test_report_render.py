"""The report as files and in the terminal."""

from __future__ import annotations

import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from hwgen.errors import HwgenError, ToolMissingError
from hwgen.report import Confusion, Report, html, markdown, terminal, write
from hwgen.report.plots import plots
from hwgen.report.render import percent
from tests.report.report_sample import bare, figure, full

VOID = {"meta", "br", "img", "link"}


class Page(HTMLParser):
    """Checks that tags nest and collects what the page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href"):
                self.links.append(value)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.stack.pop()

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_write(tmp_path):
    paths = write(full(), tmp_path / "build")
    assert [path.name for path in paths] == ["report.json", "report.md", "report.html"]
    assert Report.read(tmp_path / "build") == full()
    assert sorted(p.name for p in (tmp_path / "build").iterdir()) == ["report.html", "report.json", "report.md"]


def test_html_stands_alone():
    text = html(full())
    page = Page(text)
    assert "script" not in page.tags
    assert not [link for link in page.links if not link.startswith("#")]
    assert len(page.ids) == len(set(page.ids))
    assert "&lt;b&gt;" in text
    assert "<b> in a text" not in text
    assert text.count("<svg") == 4
    assert "@import" not in text
    assert "http://" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", text)


def test_html_is_the_same_twice():
    assert html(full()) == html(full())


def test_plots_are_svg_with_labels():
    for svg in plots(full()).values():
        root = ET.fromstring(svg)
        assert root.attrib["role"] == "img"
        assert root.attrib["aria-label"]


def test_plots_of_what_is_known_only():
    assert plots(bare()) == {}
    report = full()
    layers = (replace(report.layers[0], start=figure(None), end=figure(None), lut=figure(None)), *report.layers[1:])
    assert "not known" in plots(replace(report, layers=layers))["latency"]


def test_resources_without_a_board_are_shares_of_the_design():
    svg = plots(replace(full(), resources=()))["resources"]
    assert "share of the whole design" in svg


def test_many_layers_share_the_rest():
    report = full()
    layers = tuple(replace(report.layers[0], name=f"layer{i}", lut=figure(1000.0 - i)) for i in range(14))
    svg = plots(replace(report, layers=layers))["resources"]
    assert "layer8" in svg
    assert "layer9" not in svg


def test_large_confusion_matrix_has_no_numbers():
    size = 20
    counts = tuple(tuple(777 if i == j else 0 for j in range(size)) for i in range(size))
    svg = plots(replace(full(), confusion=Confusion(tuple(map(str, range(size))), counts)))["confusion"]
    assert "777" not in svg


def test_a_missed_target_shows():
    report = full()
    missed = replace(report, timing=replace(report.timing, target=100.0))
    assert 'class="bad"' in html(missed)
    assert 'class="bad"' not in html(report)


@pytest.mark.parametrize("render", [markdown, html])
def test_unknown_is_said(render):
    text = render(bare())
    assert "not known" in text
    assert "None" not in text
    assert not re.search(r">0 (MHz|us|frames)", text)


def test_markdown_tables_are_whole():
    text = markdown(full())
    assert "bit-exact: 360/360 frames (Verilator 5.48, cocotb 2.1)." in text
    assert "| fc1 | MatVec | 2 | 4 | int4n | uint4 | int13 | 13 | 256 (estimate) |" in text
    columns = None
    for line in text.splitlines():
        if not line.startswith("|"):
            columns = None
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        assert columns in (None, count), line
        columns = count


def test_terminal():
    console = Console(width=120, record=True, file=None, force_terminal=False)
    with console.capture() as capture:
        console.print(terminal(full()))
        console.print(terminal(bare()))
    text = capture.get()
    assert "accuracy, golden: 97.2% (350/360)" in text
    assert "Fmax: 82.13 MHz (route), target 25 MHz" in text
    assert "simulation: not run" in text
    assert "Fmax: not known" in text


def test_without_matplotlib(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ToolMissingError, match=r"pip install 'hwgen\[report\]'"):
        write(full(), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HwgenError, match="cannot write"):
        write(full(), tmp_path / "file" / "folder")


def test_percent_never_rounds_up_to_all():
    assert percent(0.9997) == "99.97 %"
    assert percent(1.0) == "100.0 %"
    assert percent(None) == "not known"
