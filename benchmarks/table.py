"""Results as lines of text."""

from __future__ import annotations

from .figures import Figure, Missing, Result

HEADS = ("", "median", "min", "max", "runs", "ratio", "target")


def number(value: float) -> str:
    """Three significant digits, more where they are before the decimal point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(title: str, results: list[Result]) -> str:
    """One theme's results, as aligned columns."""
    rows = [_row(result) for result in results if isinstance(result, Figure)]
    widths = [max(len(row[column]) for row in [HEADS, *rows]) for column in range(len(HEADS))]
    lines = ["", title, _aligned(HEADS, widths)]
    for result in results:
        if isinstance(result, Figure):
            note = f"  {result.note}" if result.note else ""
            lines.append(_aligned(_row(result), widths) + note)
    for result in results:
        if isinstance(result, Missing):
            lines.append(f"  {result.name}: not measured: {result.reason}")
    return "\n".join(lines)


def _row(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.3g} x {figure.ratio_to}"
    return (
        figure.name,
        f"{number(figure.median)} {figure.unit}",
        number(min(figure.values)),
        number(max(figure.values)),
        str(len(figure.values)),
        ratio,
        _verdict(figure),
    )


def _verdict(figure: Figure) -> str:
    target = figure.target
    if target is None:
        return ""
    sign = ">=" if target.at_least else "<="
    limit = f"{sign} {number(target.limit)}" + (" x" if target.of_ratio else f" {figure.unit}")
    return f"{limit} {'met' if figure.is_met else 'MISSED'}"


def _aligned(cells: tuple[str, ...], widths: list[int]) -> str:
    first, *others = (
        cell.ljust(width) if index in (0, 5, 6) else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"  {first}  {'  '.join(others)}".rstrip()
