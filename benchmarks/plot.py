"""Lines as a picture: an SVG for each series, time on the left and memory on the right."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from .figures import Series

WIDTH, HEIGHT = 360, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 52, 34, 40
TIME, MEMORY, NUMBER = "time", "memory", "number"
"""Classes of the picture, whose colours follow a reader's dark mode."""
STYLE = """\
<style>
text, circle { fill: var(--ink); } path, polyline { fill: none; stroke: var(--ink); }
.ground { fill: #ffffff; } .edge { --ink: #888888; } .title, .number { --ink: #333333; }
.time { --ink: #1f6feb; } .memory { --ink: #b8530f; }
@media (prefers-color-scheme: dark) {
.ground { fill: #1e1e2e; } .title, .number { --ink: #cdd6f4; }
.time { --ink: #79b8ff; } .memory { --ink: #f0a35e; }
}
</style>
"""


def write(found: Sequence[Series], folder: Path) -> None:
    """A picture of each, named by the first word of its series."""
    for series in found:
        file = folder / f"scale-{series.name.split()[0].strip(',')}.svg"
        file.write_text(plot(series), encoding="utf-8")


def plot(series: Series) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" '
        'font-family="sans-serif" font-size="11">\n'
        f'{STYLE}<rect width="100%" height="100%" class="ground"/>\n{_panel(series)}\n</svg>\n'
    )


def _panel(series: Series) -> str:
    numbers = [point.number for point in series.points]
    seconds = [point.seconds for point in series.points]
    megabytes = [point.megabytes for point in series.points if point.megabytes is not None]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [
        f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-weight="bold" class="title">'
        f"{escape(series.name)}</text>",
        f'<path d="M{LEFT} {TOP}V{bottom}H{right}V{TOP}" class="edge"/>',
        _text(LEFT, bottom + 15, "middle", NUMBER, f"{min(numbers):,}"),
        _text(right, bottom + 15, "middle", NUMBER, f"{max(numbers):,}"),
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


def _line(numbers: Sequence[float], values: Sequence[float], which: str) -> str:
    begin, end, most = min(numbers), max(numbers), max(values) or 1
    points = [
        (
            LEFT + (number - begin) / (end - begin) * (WIDTH - LEFT - RIGHT),
            HEIGHT - BOTTOM - value / most * (HEIGHT - TOP - BOTTOM),
        )
        for number, value in zip(numbers, values, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" class="{which}"/>' for x, y in points)
    return f'<polyline points="{path}" stroke-width="1.5" class="{which}"/>{dots}'


def _text(x: float, y: float, anchor: str, which: str, text: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{which}">{escape(text)}</text>'


def _seconds(value: float) -> str:
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
