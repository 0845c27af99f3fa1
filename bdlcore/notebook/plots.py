"""Plot style and the few pictures that several lessons share. Functions draw on given axes and keep no state."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from IPython import get_ipython
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from torch import Tensor

# Okabe & Ito's palette: told apart by every common form of colour vision
BLUE, ORANGE, GREEN, RED, PURPLE, SKY, YELLOW = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442",
)  # fmt: skip
INK, GREY = "#222222", "#8A8A8A"


def use_style() -> None:
    """Large type, thick lines, no clutter: readable from the back of a room."""
    mpl.rcParams.update(
        {
            "figure.figsize": (8, 4),
            "figure.dpi": 80,
            "savefig.dpi": 80,
            "figure.constrained_layout.use": True,
            "font.size": 14,
            "axes.titlesize": 15,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": mpl.cycler(color=[BLUE, RED, GREEN, ORANGE, PURPLE, SKY]),
            "lines.linewidth": 2.5,
            "lines.markersize": 7,
            "legend.frameon": False,
        }
    )


def describe(figure: Figure, text: str) -> None:
    """Say in words what a figure shows, for those who cannot see it.

    The text becomes the figure's label, and the alternative text (`alt`) of its picture in the notebook's output,
    where pages that are made from notebooks look for it. What is written in the figure is made dark enough to read.

    Args:
        figure: the figure, before its cell ends.
        text: the axes, what is compared and what is seen; at least four words.
    """
    text = " ".join(text.split())
    if len(text.split()) < 4:
        raise ValueError(f"Say what the figure shows, in a sentence; got {text!r}.")
    figure.set_label(text)
    make_legible(figure)
    if shell := get_ipython():
        pictures = shell.display_formatter.formatters["image/png"]
        try:
            printer = pictures.lookup_by_type(Figure)
        except KeyError:  # a shell that shows no pictures
            return
        if not isinstance(printer, _WithAlt):
            pictures.for_type(Figure, _WithAlt(printer))


class _WithAlt:
    """IPython's printer of figures, which also notes the figure's label as the picture's alternative text."""

    def __init__(self, printer: Callable[[Figure], Any]):
        self.printer = printer

    def __call__(self, figure: Figure) -> Any:
        printed = self.printer(figure)
        if not figure.get_label() or printed is None:
            return printed
        picture, metadata = printed if isinstance(printed, tuple) else (printed, {})
        return picture, {**metadata, "alt": figure.get_label()}


def band(
    ax: Axes, x: Tensor, centre: Tensor, half_width: Tensor, color: str = BLUE, label: str | None = None
) -> None:
    """A line with a shaded band: centre +- half_width over x, all (N,) or (N, 1)."""
    x, centre, half_width = (t.detach().cpu().flatten() for t in (x, centre, half_width))
    ax.fill_between(x, centre - half_width, centre + half_width, color=color, alpha=0.25, linewidth=0)
    ax.plot(x, centre, color=color, label=label)


def data(ax: Axes, x: Tensor, y: Tensor, label: str | None = None) -> None:
    """Data points, dark and on top."""
    ax.plot(x.cpu().flatten(), y.cpu().flatten(), "o", color=INK, markersize=5, zorder=5, label=label)


def label_line(ax: Axes, x: float, y: float, text: str, color: str) -> None:
    """Name a curve beside it, in its colour as dark as reading needs, instead of in a legend."""
    ax.annotate(
        text,
        (x, y),
        color=legible(color),
        fontweight="bold",
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
    )


def legible(color: str) -> str:
    """The colour for text on white: itself, or mixed with black until its contrast is at least 4.5 to 1.

    Contrast to white is 1.05 / (L + 0.05), where L is the relative luminance of sRGB. Source: Web Content
    Accessibility Guidelines 2.2, success criterion 1.4.3.
    """
    return _legible(mpl.colors.to_hex(color))


@cache
def _legible(color: str) -> str:
    rgb = np.array(mpl.colors.to_rgb(color))
    mixed = (mpl.colors.to_hex(share * rgb) for share in np.linspace(1, 0, 101))
    return next(dark for dark in mixed if contrast(dark) >= 4.5)  # black, the last one, is at 21


def make_legible(figure: Figure) -> None:
    """Darken text that is too pale on white, and part what is written among lines from them by a white edge.

    White text, and what is written over pictures, stays as it is.
    """
    over_pictures = {text for ax in figure.axes if ax.images for text in ax.texts}
    legends = [ax.get_legend() for ax in figure.axes if ax.get_legend()]
    among_lines = {text for owner in (*figure.axes, *legends) for text in owner.texts}
    for text in {*figure.findobj(Text)} - over_pictures:
        if (color := mpl.colors.to_hex(text.get_color())) == "#ffffff":
            continue
        if color != (dark := legible(color)):
            text.set_color(dark)
        if text in among_lines and not text.get_path_effects():
            text.set_path_effects([withStroke(linewidth=4, foreground="white")])


def contrast(color: str) -> float:
    """The contrast of a colour to white, from 1 (white) to 21 (black)."""
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05))


def functions(ax: Axes, x: Tensor, f: Tensor, color: str = BLUE, most: int = 20, **style) -> None:
    """Up to `most` single functions of f (S, N, 1) or (S, N) as thin lines."""
    f = f.detach().cpu().reshape(f.shape[0], -1)
    keep = torch.linspace(0, len(f) - 1, min(most, len(f))).round().long()
    ax.plot(x.cpu().flatten(), f[keep].T, color=color, **{"linewidth": 1, "alpha": 0.6} | style)
