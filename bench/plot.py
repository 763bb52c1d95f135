"""Line plots as SVG, without a library: a few series over a logarithmic or plain axis."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

WIDTH, HEIGHT, MARGIN = 560, 300, 56
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700")

Points = Sequence[tuple[float, float]]


def write(file: Path, title: str, *, x: str, y: str, series: Mapping[str, Points], logarithmic: bool = True) -> None:
    """Write a plot; the y axis begins at zero, so that flat looks flat."""
    xs = [point[0] for points in series.values() for point in points]
    top = max(point[1] for points in series.values() for point in points) * 1.15 or 1
    low, high = min(xs), max(xs)

    def across(value: float) -> float:
        share = math.log(value / low) / math.log(high / low) if logarithmic else (value - low) / (high - low)
        return MARGIN + share * (WIDTH - MARGIN - 20)

    def up(value: float) -> float:
        return HEIGHT - MARGIN - value / top * (HEIGHT - MARGIN - 40)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{MARGIN}" y="22" font-size="14" font-weight="bold">{title}</text>',
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 12}" text-anchor="middle">{x}</text>',
        f'<text x="14" y="{HEIGHT / 2}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})">{y}</text>',
    ]
    for step in range(5):
        value = top * step / 4
        parts.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - 20}" y1="{up(value):.1f}" y2="{up(value):.1f}" stroke="#d0d7de"/>'
            f'<text x="{MARGIN - 6}" y="{up(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>'
        )
    for value in sorted(set(xs)):
        parts.append(
            f'<text x="{across(value):.1f}" y="{HEIGHT - MARGIN + 18}" text-anchor="middle">{_short(value)}</text>'
        )
    for (name, points), colour in zip(series.items(), COLOURS, strict=False):
        path = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{across(at):.1f}" cy="{up(value):.1f}" r="3" fill="{colour}"/>' for at, value in points]
        value = points[-1][1]
        parts.append(f'<text x="{WIDTH - 24}" y="{up(value) - 8:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    file.write_text("\n".join([*parts, "</svg>"]) + "\n")


def _short(value: float) -> str:
    for size, name in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{name}"
    return f"{value:g}"
