"""Writes what docs/formats.md has from the catalogue: its tables and a number line for each format.

    python docs/formats_page.py

The page and the pictures are kept in the repository; tests/formats/test_page.py checks that they are current.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwgen import formats
from hwgen.formats import BLOCKS, CATALOG, Block, Format

PAGE = Path(__file__).with_name("formats.md")
PICTURES = Path(__file__).with_name("_static") / "formats"
# All that stands below this line is generated.
BEGIN = "## The catalogue\n"
# Integers are all alike: these stand for the others.
SHOWN = ("bipolar", "uint4", "int4", "int4n", "int8", "fixed<8,3>", "ufixed<8,3>")
WIDTH, MARGIN, MAX_TICKS = 640, 10, 1 << 14


def shown() -> list[Format]:
    """The formats that the page shows in full."""
    minifloats = [fmt for fmt in CATALOG.values() if isinstance(fmt, formats.Minifloat)]
    return [*(formats.scalar(name) for name in SHOWN), *minifloats]


def numbers(fmt: Format) -> npt.NDArray[np.float64]:
    """The numbers of a format in order; of a wide minifloat the least ones and an even choice of the others."""
    if isinstance(fmt, formats.Minifloat) and fmt.bits > 8:
        top = fmt.max_magnitude
        magnitudes = np.concatenate(
            [np.arange(MAX_TICKS // 4), np.linspace(0, top, MAX_TICKS).round().astype(np.int64)]
        )
        worth = fmt.decode(np.unique(np.minimum(magnitudes, top)))
        return np.unique(np.concatenate([worth, -worth]))
    codes = fmt.codes()
    return np.unique(fmt.decode(codes[fmt.is_number(codes)]))


def file_name(fmt: Format) -> str:
    return fmt.name.replace("<", "-").replace(">", "").replace(",", "-") + ".svg"


def ticks(x: npt.NDArray[np.float64], low: float, high: float, y: int, height: int) -> str:
    """An SVG path with one line at each of `x`, at most one a pixel."""
    places = np.unique(np.round(MARGIN + (x - low) / (high - low) * (WIDTH - 2 * MARGIN)).astype(int))
    return f'<path d="{"".join(f"M{place} {y}v{height}" for place in places)}"/>'


def picture(fmt: Format) -> str:
    """Two number lines: all numbers on a linear scale, and the positive ones by their exponent."""
    x = numbers(fmt)
    positive = x[x > 0]
    low, high = float(x[0]), float(x[-1])
    log = np.log2(positive)
    first, last = float(np.floor(log[0])), float(np.ceil(log[-1]))
    last += first == last
    text = (
        f'<g font-family="sans-serif" font-size="11" fill="#808080"><text x="{MARGIN}" y="12">{low:g}</text>'
        f'<text x="{WIDTH - MARGIN}" y="12" text-anchor="end">{high:g}</text>'
        f'<text x="{MARGIN}" y="78">2^{first:g}</text>'
        f'<text x="{WIDTH - MARGIN}" y="78" text-anchor="end">2^{last:g}</text>'
        f'<text x="{WIDTH // 2}" y="78" text-anchor="middle">positive numbers, by exponent</text></g>'
    )
    lines = ticks(x, low, high, 18, 16) + ticks(log, first, last, 48, 16)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 84" width="{WIDTH}" height="84" role="img">'
        f"<title>The numbers of {fmt.name.replace('<', '&lt;')}</title>{text}"
        f'<g stroke="#3b7dd8" stroke-width="1">{lines}</g></svg>\n'
    )


def scalar_table() -> list[str]:
    rows = [
        "| name | bits | precision | least | greatest | step | product | sum of 32 | sum of 4096 |",
        "|---|" + 8 * "---:|",
    ]
    for fmt in shown():
        about = fmt.describe()
        keys = ("significand_bits", "min", "max", "least_positive", "product_bits")
        cells = [f"{about[key]:g}" for key in (*keys, "accumulator_bits_32", "accumulator_bits_4096")]
        rows.append(f"| `{fmt.name}` | {fmt.bits} | {' | '.join(cells)} |")
    return rows


def block_table() -> list[str]:
    rows = [
        "| name | element | scale | block | bits each | greatest | product | sum of a block |",
        "|---|---|---|" + 5 * "---:|",
    ]
    for fmt in BLOCKS.values():
        if isinstance(fmt, Block):
            about = fmt.describe()
            scale = f"`{fmt.scale.name}`" + (", FP32 for the tensor" if fmt.has_tensor_scale else "")
            summed = formats.product_width(fmt.element, fmt.element, fmt.size)[1]
            cells = f"{fmt.size} | {fmt.bits:g} | {about['max']:g} | {about['product_bits']} | {summed}"
            rows.append(f"| `{fmt.name}` | `{fmt.element.name}` | {scale} | {cells} |")
    return rows


def catalogue() -> str:
    """The generated part of the page."""
    pictures = [f"`{fmt.name}`\n\n![The numbers of {fmt.name}](_static/formats/{file_name(fmt)})\n" for fmt in shown()]
    parts = [
        "### Scalar formats\n",
        "Products and sums are the bits of the exact result for two numbers of the format.\n",
        *scalar_table(),
        "\n### Block formats\n",
        *block_table(),
        "\n### Number lines\n",
        "\n".join(pictures),
    ]
    return "\n".join(parts)


def page() -> str:
    """docs/formats.md with its generated part made anew."""
    text = PAGE.read_text()
    return text[: text.index(BEGIN)] + BEGIN + "\n" + catalogue()


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for fmt in shown():
        (PICTURES / file_name(fmt)).write_text(picture(fmt))
    PAGE.write_text(page())


if __name__ == "__main__":
    main()
