"""The ratios as a picture: one bar for each workload and contestant, in SVG, with a line where both are equal."""

from __future__ import annotations

from html import escape

from .results import Results, Row

_ROW, _LEFT, _WIDTH, _MOST = 22, 330, 420, 3.0
_FONT = 'font-family="sans-serif" font-size="12" fill="#888"'


def ratios(results: Results) -> str:
    """Light and dark backgrounds alike; bars end at three times as fast, and say their number. A red mark is a goal."""
    height = _ROW * (len(results.rows) + 2)
    bars = [_bar(index, f"{row.workload} / {row.peer}", row) for index, row in enumerate(results.rows)]
    one = _LEFT + _WIDTH / _MOST
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_LEFT + _WIDTH + 70} {height}" {_FONT}>',
            "<title>How many times as fast handclasp is</title>",
            f'<line x1="{one}" x2="{one}" y1="0" y2="{height - _ROW}" stroke="#888" stroke-dasharray="3"/>',
            f'<text x="{one}" y="{height - 6}" text-anchor="middle">as fast</text>',
            *bars,
            "</svg>",
            "",
        ]
    )


def _bar(index: int, label: str, row: Row) -> str:
    ahead = row.ahead
    width = min(ahead.median, _MOST) / _MOST * _WIDTH
    low, high = (_LEFT + min(value, _MOST) / _MOST * _WIDTH for value in (ahead.low, ahead.high))
    colour = "#2a9d5c" if ahead.median >= (row.goal or 1) else "#c77d2e"
    top = index * _ROW + 4
    middle = top + 7
    at = _LEFT + (row.goal or 0) / _MOST * _WIDTH
    goal = f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top - 2}" y2="{top + 16}" stroke="#d33" stroke-width="2"/>'
    return (
        f'<text x="{_LEFT - 8}" y="{top + 11}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="14" fill="{colour}"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="#444"/>'
        f"{goal if row.goal is not None else ''}"
        f'<text x="{max(_LEFT + width, high, at) + 6:.1f}" y="{top + 11}">{ahead.median:.2f}</text>'
    )
