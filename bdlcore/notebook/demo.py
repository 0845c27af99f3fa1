"""Live demos: a picture that is a pure function of its sliders."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import ipywidgets as widgets
import matplotlib.pyplot as plt
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

registry: list[Demo] = []


class Demo:
    """Sliders above a picture that is redrawn whenever one moves.

    Attributes:
        draw: keyword arguments -> matplotlib Figure; a pure function, so that the same sliders give the same
            picture.
        controls: the widgets, by argument name.
        image: the `ipywidgets.Image` that shows the picture.
        milliseconds: how long the last redraw took.
    """

    def __init__(self, draw: Callable[..., Figure], controls: dict[str, widgets.Widget]):
        self.draw, self.controls = draw, controls
        self.image = widgets.Image(format="png")
        self.milliseconds = 0.0
        self._positions: list[Bbox] | None = None
        for control in controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()

    def _redraw(self, change: dict | None = None) -> None:
        start = time.perf_counter()
        figure = self.draw(**{name: control.value for name, control in self.controls.items()})
        self._lay_out(figure)
        buffer = io.BytesIO()
        FigureCanvasAgg(figure).print_png(buffer, pil_kwargs={"compress_level": 1})  # savefig draws twice
        plt.close(figure)
        self.image.tooltip = figure.get_label() or None  # what `plots.describe` said of it
        self.image.value = buffer.getvalue()
        self.milliseconds = 1000 * (time.perf_counter() - start)

    def _lay_out(self, figure: Figure) -> None:
        """Put the axes where the first picture had them: laying out anew takes long, and makes axes jump."""
        if self._positions is None:
            figure.draw_without_rendering()
            self._positions = [ax.get_position() for ax in figure.axes]
        if len(figure.axes) == len(self._positions):
            figure.set_layout_engine("none")
            for ax, position in zip(figure.axes, self._positions, strict=True):
                ax.set_position(position)

    def _ipython_display_(self) -> None:
        display(widgets.VBox([*self.controls.values(), self.image]))


def demo(draw: Callable[..., Figure], **controls: tuple | list | widgets.Widget) -> Demo:
    """Show `draw` with one control per argument.

    Args:
        draw: pure function of the controls' values that returns a matplotlib Figure.
        controls: per argument of `draw` an ipywidgets control, a (low, high, step, value) tuple for a slider
            (whole numbers make an integer slider), or a list of options.

    >>> import matplotlib.pyplot as plt
    >>> def draw(height, style):
    ...     figure, ax = plt.subplots()
    ...     ax.plot([0, 1], [0, height], style)
    ...     return figure
    >>> made = demo(draw, height=(1, 9, 1, 3), style=["-", ":"])
    >>> made.controls["height"].value = 7  # as when the slider is dragged
    """
    made = Demo(draw, {name: _control(name, spec) for name, spec in controls.items()})
    registry.append(made)
    return made


def _control(name: str, spec: tuple | list | widgets.Widget) -> widgets.Widget:
    if isinstance(spec, widgets.Widget):
        return spec
    style = {
        "description": name.replace("_", " "),
        "style": {"description_width": "10em"},
        "layout": widgets.Layout(width="32em"),
    }
    if isinstance(spec, list):
        return widgets.ToggleButtons(options=spec, description=style["description"], style=style["style"])
    if not isinstance(spec, tuple) or len(spec) != 4:
        raise ValueError(
            f"The control for {name!r} must be (low, high, step, value), a list of options, or a widget; got {spec!r}."
        )
    low, high, step, value = spec
    kind = widgets.IntSlider if all(isinstance(v, int) for v in spec) else widgets.FloatSlider
    return kind(value=value, min=low, max=high, step=step, continuous_update=True, **style)
