"""A plot as SVG: lines over a logarithmic axis of values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from html import escape
from math import ceil, floor, log10

_WIDTH, _HEIGHT = 760, 440
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 24, 52, 56
_LEGEND_STEP = 170
# Okabe and Ito's colours, which people who see few colours can tell apart.
_COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


_TICKS = 12
_MARKS = 24


class Scale(StrEnum):
    """How an axis grows."""

    LINEAR = "linear"
    LOGARITHMIC = "logarithmic"

    def of(self, value: float) -> float:
        """Returns where a value lies on the axis, in its own measure."""
        return value if self is Scale.LINEAR else log10(value)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps values onto pixels; `low` and `high` are in the measure of the scale."""

    scale: Scale
    low: float
    high: float
    start_px: float
    end_px: float

    def place(self, value: float) -> float:
        share = (self.scale.of(value) - self.low) / (self.high - self.low)
        return round(self.start_px + share * (self.end_px - self.start_px), 1)


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    x_values: Sequence[int],
    series: Mapping[str, Sequence[float]],
    x_scale: Scale = Scale.LOGARITHMIC,
) -> str:
    """Returns an SVG document.

    Args:
        x_values: positive, ascending; each gets a tick, or every so manieth of many.
        series: by name, one positive value for each of `x_values`; at most six.

    Raises:
        ValueError: a series has another length, or there is nothing to draw.
    """
    if not x_values or not series or any(len(each) != len(x_values) for each in series.values()):
        raise ValueError("every series needs a value for each of the x values")
    every = [value for each in series.values() for value in each]
    low, high = floor(log10(min(every))), ceil(log10(max(every)))
    # One value alone stands in the middle.
    margin = 0.0 if x_values[0] < x_values[-1] else 0.5
    x_axis = _Axis(
        x_scale,
        x_scale.of(x_values[0]) - margin,
        x_scale.of(x_values[-1]) + margin,
        _LEFT + 16,
        _WIDTH - _RIGHT - 16,
    )
    y_axis = _Axis(Scale.LOGARITHMIC, low, max(high, low + 1), _HEIGHT - _BOTTOM, _TOP + 24)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'font-family="sans-serif" font-size="12" fill="#222">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        _text(_LEFT, 22, title, size=15),
        *_grid(x_axis, y_axis, x_values),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 14, x_label, anchor="middle"),
        _text(_LEFT, 66, y_label),
    ]
    for number, (name, values) in enumerate(series.items()):
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in zip(x_values, values, strict=True)]
        parts += _line(_COLOURS[number], places)
        left = _LEFT + number * _LEGEND_STEP
        parts.append(f'<rect x="{left}" y="36" width="12" height="4" fill="{_COLOURS[number]}"/>')
        parts.append(_text(left + 18, 42, name))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _grid(x_axis: _Axis, y_axis: _Axis, x_values: Sequence[int]) -> Iterator[str]:
    left, right, bottom = _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for power in range(int(y_axis.low), int(y_axis.high) + 1):
        y = y_axis.place(10.0**power)
        yield f'<path d="M{left} {y}H{right}" stroke="#ddd"/>'
        yield _text(left - 8, y + 4, f"{10.0**power:g}", anchor="end")
    for value in x_values[:: -(-len(x_values) // _TICKS)]:
        x = x_axis.place(value)
        yield f'<path d="M{x} {bottom}v5" stroke="#888"/>'
        yield _text(x, bottom + 20, f"{value:,}", anchor="middle")
    yield f'<path d="M{left} {bottom}H{right}" stroke="#888"/>'


def _line(colour: str, places: Sequence[tuple[float, float]]) -> Iterator[str]:
    points = " ".join(f"{x},{y}" for x, y in places)
    yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in places if len(places) <= _MARKS else ():
        yield f'<circle cx="{x}" cy="{y}" r="3.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}">{escape(text)}</text>'
