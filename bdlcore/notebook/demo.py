"""Live demos: a picture that is a pure function of its sliders."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import anywidget
import ipywidgets as widgets
import matplotlib.pyplot as plt
import traitlets
from IPython.display import display
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from .plots import make_legible

registry: list[Demo] = []
MOST_VALUES = 100  # of one control that are drawn ahead,
MOST_PICTURES = 500  # and pictures that a page keeps: some 30 MB


class Picture(widgets.Image):
    """An image whose tooltip, which screen readers read, can be set: ipywidgets 8 asks it for a description first."""

    description = traitlets.Unicode().tag(sync=True)


class Room(anywidget.AnyWidget):
    """The room for a picture on a page: an unseen box over its parent that knows how many pixels it covers.

    Attributes:
        pixels: (width, height) on the screen; (0, 0) until the browser has told them.
    """

    _esm = Path(__file__).with_name("room.js")
    pixels = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0)).tag(sync=True)


class Demo:
    """Sliders above a picture that is redrawn whenever one moves.

    Attributes:
        draw: keyword arguments -> matplotlib Figure; a pure function, so that the same sliders give the same
            picture.
        controls: the widgets, by argument name.
        presets: settings by name, each a dictionary from argument name to value.
        image: the `ipywidgets.Image` that shows the picture; its tooltip says what is seen.
        milliseconds: how long the last redraw took.
    """

    def __init__(
        self,
        draw: Callable[..., Figure],
        controls: dict[str, widgets.Widget],
        presets: Mapping[str, Mapping[str, object]] | None = None,
    ):
        self.draw, self.controls = draw, controls
        self.presets = {name: dict(settings) for name, settings in (presets or {}).items()}
        self._start = {name: control.value for name, control in controls.items()}
        for name, settings in self.presets.items():
            if unknown := sorted(set(settings) - set(controls)):
                raise ValueError(f"Preset {name!r} sets {unknown}, but the controls are {sorted(controls)}.")
        self.image = Picture(format="png")
        self.milliseconds = 0.0
        self._positions: list[Bbox] | None = None
        self._room: Room | None = None  # None: as large as the figure says
        self._drawn: dict[str, tuple[bytes, str]] = {}  # on a page: picture and words by settings
        self._next: asyncio.TimerHandle | None = None
        self._held = False
        for control in controls.values():
            control.observe(self._redraw, names="value")
        self._redraw()

    def set(self, **settings: object) -> None:
        """Move several controls, and redraw once. ValueError for a value that a control does not take."""
        self._held = True
        try:
            for name, value in settings.items():
                self.controls[name].value = value
                if self.controls[name].value != value:
                    raise ValueError(f"{name} = {value!r} is beyond the ends of its slider.")
        except traitlets.TraitError as problem:
            raise ValueError(f"{name} = {value!r} is none of its control's options.") from problem
        finally:
            self._held = False
            self._redraw()

    def reset(self) -> None:
        """Go back to the settings that the demo began with."""
        self.set(**self._start)

    def page(self) -> widgets.Widget:
        """The demo for showing to a class: its picture fills its box, and is drawn with just the box's pixels.

        Nobody edits the code behind a page, so pictures are kept, and while nobody moves a control, those that
        one move would show are drawn ahead: a drag then shows them at once.

        Sizes are for the style sheet of `make present`, which knows the parts as bdl-page, bdl-controls and
        bdl-picture.
        """
        for control in self.controls.values():
            control.layout.width, control.style.description_width = None, "8.5em"
        self._room = Room()
        self._room.observe(self._redraw, names="pixels")
        controls = widgets.Box([*self.controls.values(), self._buttons()]).add_class("bdl-controls")
        picture = widgets.Box([self.image, self._room]).add_class("bdl-picture")
        return widgets.Box([controls, picture]).add_class("bdl-page")

    def _buttons(self) -> widgets.Widget:
        """A button for each preset, and one that goes back to the start."""
        settings = {
            **{name: {**self._start, **preset} for name, preset in self.presets.items()},
            "Reset": self._start,
        }
        buttons = []
        for name, wanted in settings.items():
            button = widgets.Button(description=name, layout=widgets.Layout(width="auto"))
            button.on_click(lambda _, wanted=wanted: self.set(**wanted))
            buttons.append(button)
        return widgets.HBox(buttons, layout=widgets.Layout(flex_flow="row wrap"))

    def _redraw(self, change: dict | None = None) -> None:
        if self._held:
            return
        start = time.perf_counter()
        settings = {name: control.value for name, control in self.controls.items()}
        picture, words = self._picture(settings)
        with self.image.hold_sync():
            self.image.tooltip, self.image.value = words, picture
        self.milliseconds = 1000 * (time.perf_counter() - start)
        if self._room and any(self._room.pixels):
            self._wait_and_draw_ahead(0.2, self._one_move_away(settings, change and change["owner"]))

    def _picture(self, settings: dict[str, object]) -> tuple[bytes, str]:
        """The PNG picture of these settings and its words; from what was kept, if this is a page."""
        if self._room is None:
            return self._draw(settings)
        exact = {n: round(v, 10) if isinstance(v, float) else v for n, v in settings.items()}
        key = repr((self._room.pixels, exact))
        if key not in self._drawn:
            while len(self._drawn) >= MOST_PICTURES:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = self._draw(settings)
        return self._drawn[key]

    def _draw(self, settings: dict[str, object]) -> tuple[bytes, str]:
        figure = self.draw(**settings)
        make_legible(figure)
        if self._room and any(self._room.pixels):
            figure.set_dpi(min(self._room.pixels / figure.get_size_inches()))
        engine = figure.get_layout_engine()
        self._lay_out(figure)
        canvas, buffer = FigureCanvasAgg(figure), io.BytesIO()
        canvas.print_png(buffer, pil_kwargs={"compress_level": 1})  # savefig draws twice
        if engine is not None and self._cuts(figure):
            for ax in figure.axes:
                ax.set_in_layout(True)  # which giving it a position has ended
            figure.set_layout_engine(engine)
            buffer = io.BytesIO()
            canvas.print_png(buffer, pil_kwargs={"compress_level": 1})
        plt.close(figure)
        return buffer.getvalue(), figure.get_label() or _words(figure, settings)

    def _wait_and_draw_ahead(self, seconds: float, coming: Iterator[dict[str, object]]) -> None:
        """Draw the first of the coming settings in a while, then the others, unless a control is moved before."""
        if self._next:
            self._next.cancel()
        try:
            self._next = asyncio.get_running_loop().call_later(seconds, self._draw_ahead, coming)
        except RuntimeError:  # nothing waits for a control to be moved
            self._next = None

    def _draw_ahead(self, coming: Iterator[dict[str, object]]) -> None:
        settings = next(coming, None)
        if settings is None:
            return
        with suppress(Exception):  # who moves a control there is shown what went wrong
            self._picture(settings)
        self._wait_and_draw_ahead(0.01, coming)

    def _one_move_away(
        self, settings: dict[str, object], moved: widgets.Widget | None
    ) -> Iterator[dict[str, object]]:
        """Settings that one move leads to: along the control that moved last, by a button, by another control."""
        names = sorted(self.controls, key=lambda name: self.controls[name] is not moved)
        for name in names[:1]:
            yield from ({**settings, name: value} for value in _values(self.controls[name]))
        yield from ({**self._start, **preset} for preset in [*self.presets.values(), {}])
        for name in names[1:]:
            yield from ({**settings, name: value} for value in _values(self.controls[name]))

    def _lay_out(self, figure: Figure) -> None:
        """Put the axes where the first picture had them: laying out anew takes long, and makes axes jump."""
        if self._positions is None:
            figure.draw_without_rendering()
            self._positions = [ax.get_position() for ax in figure.axes]
        if len(figure.axes) == len(self._positions):
            figure.set_layout_engine("none")
            for ax, position in zip(figure.axes, self._positions, strict=True):
                ax.set_position(position)

    @staticmethod
    def _cuts(figure: Figure) -> bool:
        """Whether an axis label of a figure that was drawn reaches over the figure's edge."""
        labels = [axis.label for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if axis.label.get_text()]
        boxes = [label.get_window_extent() for label in labels if label.get_visible()]
        return any(
            box.x0 < 0 or box.y0 < 0 or box.x1 > figure.bbox.x1 or box.y1 > figure.bbox.y1 for box in boxes
        )

    def _ipython_display_(self) -> None:
        display(widgets.VBox([*self.controls.values(), self._buttons(), self.image]))


def _values(control: widgets.Widget) -> list[object]:
    """The values that a control can be moved to, nearest first; none if they are too many or unknown."""
    if isinstance(control, widgets.Checkbox):
        return [not control.value]
    if hasattr(control, "options") and not isinstance(control.value, tuple):
        return [option[1] if isinstance(option, tuple) else option for option in control.options]
    if not isinstance(control, widgets.IntSlider | widgets.FloatSlider):
        return []
    count = round((control.max - control.min) / control.step)
    if count > MOST_VALUES:
        return []
    values = [round(control.min + k * control.step, 10) for k in range(count + 1)]
    return sorted(values, key=lambda value: abs(value - control.value))


def _words(figure: Figure, settings: Mapping[str, object]) -> str:
    """What a picture shows, for who does not see it: the settings, then each panel's title and axes."""
    said = [", ".join(f"{name} {value}" for name, value in settings.items())]
    for ax in figure.axes:
        title = ax.get_title() or ax.get_title("left")
        axes = " against ".join(filter(None, [ax.get_ylabel(), ax.get_xlabel()]))
        said.append(": ".join(filter(None, [title, axes])))
    return ". ".join(filter(None, said)).replace("_", " ") + "."


def demo(
    draw: Callable[..., Figure],
    *,
    presets: Mapping[str, Mapping[str, object]] | None = None,
    **controls: tuple | list | widgets.Widget,
) -> Demo:
    """Show `draw` with one control per argument, a button for each preset and one that resets.

    Args:
        draw: pure function of the controls' values that returns a matplotlib Figure.
        controls: per argument of `draw` an ipywidgets control, a (low, high, step, value) tuple for a slider
            (whole numbers make an integer slider), or a list of options.
        presets: telling settings by name, each a dictionary from argument to value; arguments that it does not
            name go back to where they began.

    Raises:
        ValueError: a control that is none of these, or a preset of an argument that has no control.

    >>> import matplotlib.pyplot as plt
    >>> def draw(height, style):
    ...     figure, ax = plt.subplots()
    ...     ax.plot([0, 1], [0, height], style)
    ...     return figure
    >>> made = demo(draw, height=(1, 9, 1, 3), style=["-", ":"])
    >>> made.controls["height"].value = 7  # as when the slider is dragged
    """
    made = Demo(draw, {name: _control(name, spec) for name, spec in controls.items()}, presets)
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
        toggles = {**style["style"], "button_width": "auto"}
        made = widgets.ToggleButtons(options=spec, description=style["description"], style=toggles)
        return made.add_class("jupyter-widgets").add_class("widget-inline-hbox")  # in line with the sliders
    if not isinstance(spec, tuple) or len(spec) != 4:
        raise ValueError(
            f"The control for {name!r} must be (low, high, step, value), a list of options, or a widget; got {spec!r}."
        )
    low, high, step, value = spec
    kind = widgets.IntSlider if all(isinstance(v, int) for v in spec) else widgets.FloatSlider
    return kind(value=value, min=low, max=high, step=step, continuous_update=True, **style)
