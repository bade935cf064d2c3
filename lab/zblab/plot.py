"""Ratios as a picture (SVG), on a logarithmic scale: what is short is cheap."""

import math
from xml.sax.saxutils import escape

LEFT, WIDTH, ROW, TOP = 470, 420, 30, 46
LOWEST, HIGHEST = 0.01, 10

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1b1f24; } .small { font-size: 11px; fill: #57606a; }
.bar { fill: #2f6f9f; } .over { fill: #b35900; } .grid { stroke: #d0d7de; } .one { stroke: #57606a; }
.target { stroke: #1b1f24; stroke-width: 2; } .back { fill: #ffffff; }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3; } .small { fill: #9198a1; } .bar { fill: #5aa9e6; } .over { fill: #f0883e; }
.grid { stroke: #30363d; } .one { stroke: #9198a1; } .target { stroke: #e6edf3; } .back { fill: #0d1117; } }
"""


def _x(ratio):
    """Where a ratio lies."""
    part = math.log10(max(LOWEST, min(HIGHEST, ratio)) / LOWEST) / math.log10(HIGHEST / LOWEST)
    return LEFT + part * WIDTH


def _row(number, text, ratio, target):
    """A bar with its target; one that misses it differs in colour, and says so."""
    y = TOP + number * ROW
    missed = ratio > target
    says = f"{ratio:.3g}" + (f", target {target:.3g}" if missed else "")
    return (f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(text)}</text>'
            f'<rect class="{"over" if missed else "bar"}" x="{LEFT}" y="{y + 5}" width="{_x(ratio) - LEFT:.1f}" height="14" rx="2"/>'
            f'<line class="target" x1="{_x(target):.1f}" x2="{_x(target):.1f}" y1="{y + 2}" y2="{y + 22}"/>'
            f'<text class="small" x="{max(_x(ratio), _x(target)) + 6:.1f}" y="{y + 16}">{escape(says)}</text>')


def ratios_svg(title, rows):
    """rows: (text, ratio, target), each ratio ours to what it is compared with."""
    height = TOP + len(rows) * ROW + 34
    grid = "".join(
        f'<line class="{"one" if ratio == 1 else "grid"}" x1="{_x(ratio):.1f}" x2="{_x(ratio):.1f}" y1="{TOP - 6}" '
        f'y2="{height - 30}"/><text class="small" x="{_x(ratio):.1f}" y="{height - 14}" text-anchor="middle">{ratio:g}</text>'
        for ratio in (0.01, 0.1, 1, 10))
    bars = "".join(_row(number, *row) for number, row in enumerate(rows))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 130}" height="{height}" role="img">'
            f"<title>{escape(title)}</title><style>{STYLE}</style>"
            f'<rect class="back" width="100%" height="100%"/><text x="10" y="24">{escape(title)}</text>{grid}{bars}</svg>\n')
