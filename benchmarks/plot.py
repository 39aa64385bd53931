"""Lines as a picture: an SVG, a panel for each series, time on the left and memory on the right."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .figures import Series

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 52, 34, 40
TIME, MEMORY = "#1f6feb", "#d1651a"


def plot(found: Sequence[Series]) -> str:
    """All of `found`, two in a row."""
    rows = -(-len(found) // 2)
    panels = "".join(
        f'<g transform="translate({WIDTH * (at % 2)} {HEIGHT * (at // 2)})">{_panel(each)}</g>\n'
        for at, each in enumerate(found)
    )
    width, height = 2 * WIDTH, HEIGHT * rows
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{panels}</svg>\n'
    )


def _panel(series: Series) -> str:
    numbers = [point.number for point in series.points]
    seconds = [point.seconds for point in series.points]
    megabytes = [point.megabytes for point in series.points if point.megabytes is not None]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold">'
        f"{escape(series.name)}</text>",
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}V{TOP}" fill="none" stroke="#888"/>',
        _text(LEFT, bottom + 15, "middle", "#444", f"{min(numbers):,}"),
        _text(right, bottom + 15, "middle", "#444", f"{max(numbers):,}"),
        _text(LEFT - 5, TOP + 4, "end", TIME, _seconds(max(seconds))),
        _text(LEFT - 5, bottom, "end", TIME, "0"),
        _text(LEFT, HEIGHT - 8, "start", TIME, series.clock),
        _line(numbers, seconds, TIME),
    ]
    if len(megabytes) == len(numbers):
        parts += [
            _text(right + 5, TOP + 4, "start", MEMORY, f"{max(megabytes):.0f} MB"),
            _text(right + 5, bottom, "start", MEMORY, "0"),
            _line(numbers, megabytes, MEMORY),
            _text(right, HEIGHT - 8, "end", MEMORY, f"memory of {series.weighed}"),
        ]
    return "".join(parts)


def _line(numbers: Sequence[float], values: Sequence[float], colour: str) -> str:
    begin, end, most = min(numbers), max(numbers), max(values) or 1
    points = [
        (
            LEFT + (number - begin) / (end - begin) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM),
        )
        for number, value in zip(numbers, values, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>{dots}'


def _text(x: float, y: float, anchor: str, colour: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
