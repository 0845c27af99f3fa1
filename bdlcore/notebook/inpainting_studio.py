"""A live cell for inpainting: choose a picture, paint over a part of it, and watch a network fill the hole."""

from __future__ import annotations

import atexit
import html
import io
import threading

import ipywidgets as widgets
import torch
from IPython.display import display
from torch import Tensor

from .._support import validate
from .._support.randomness import as_seed
from ..data.photos import PHOTOS, load_image, photo
from ..nets.generators import hourglass
from ..restoration import observations
from ..restoration.deep_image_prior import deep_image_prior
from ..restoration.restoration import Restoration
from .painting import Canvas

COLOURED = ("astronaut", "chelsea", "coffee")
HELD_OUT = 0.1  # share of the observed pixels by which the fit chooses its step
EVERY = 15  # steps from one picture to the next
HOW_TO = "Drag the mouse, or use the arrow keys and Space, to paint out what should go; then press Inpaint."


class InpaintingStudio:
    """A picture to paint on, and beside it the picture without what was painted over.

    As one expects of inpainting, the pixels that were not painted over stay as they are: what the network draws is
    shown in the hole only. The fit runs in a thread of its own, on the picture and the mask as they are at its start.

    The network is an hourglass that halves the picture until 4 to 7 pixels a side are left: with the two halvings
    that are enough against noise, the middle of a wide hole stays grey.

    Everything can be done from code as well: `paint`, `start`, `stop`, `wait`.

    Attributes:
        image: (channels, size, size) the picture.
        restoration: what `deep_image_prior` returned last, for this picture; None before.
        inpainted: (channels, size, size) what is shown on the right; None before the first step.
        message: the line of text below the pictures.
    """

    def __init__(self, size: int, steps: int, members: int, seed: int | torch.Generator):
        self.size, self.steps = validate.count("size", size, minimum=8), validate.count("steps", steps)
        self.members, self.seed = validate.count("members", members), as_seed(seed)
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        names = (*COLOURED, *(name for name in PHOTOS if name not in COLOURED))
        look = {"style": {"description_width": "initial"}, "layout": widgets.Layout(width="318px")}
        self.photos = widgets.Dropdown(options=names, description="Photo", **look)
        self.upload = widgets.FileUpload(accept="image/*", description="Own picture")
        self.brush = widgets.IntSlider(8, 1, 24, description="Brush (pixels)", **look)
        self.clear_button = _button("Clear", "eraser")
        self.start_button = _button("Inpaint", "play", button_style="primary")
        self.stop_button = _button("Stop", "stop", disabled=True)
        self.line, self.file_line = widgets.HTML(), widgets.HTML()
        self.canvas = Canvas(photo(names[0], self.size), brush=self.brush.value)
        self.result = Canvas(_blank(self.size))
        self._take(photo(names[0], self.size))

        widgets.link((self.brush, "value"), (self.canvas, "brush"))
        self.photos.observe(self._photo_chosen, "value")
        self.upload.observe(self._file_chosen, "value")
        self.clear_button.on_click(lambda _: self.canvas.clear())
        self.start_button.on_click(lambda _: self.start())
        self.stop_button.on_click(lambda _: self.stop())
        atexit.register(self._end)  # a kernel that ends does not wait for a fit

    @property
    def mask(self) -> Tensor:
        """(size, size) boolean: True where the picture is observed, False where it is painted over."""
        return ~self.canvas.painted

    def paint(self, x: float, y: float) -> None:
        """Paint a dot with the brush, at x to the right and y down, in pixels of the picture."""
        self.canvas.paint(x, y)

    def start(self) -> None:
        """Fill the hole, in the background; a fit that still runs is stopped first."""
        self._end()
        mask = self.mask
        if mask.all():
            self._say(f"Nothing is painted over yet. {HOW_TO}")
            return
        self._stopping = threading.Event()
        self.stop_button.disabled = False
        self._say("Starting ...")
        fit = self.image, mask, self._stopping
        self._thread = threading.Thread(target=self._fit, args=fit, name="inpainting", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the fit after the step that it is at; what it has so far stays."""
        self._stopping.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the fit has ended, or for `timeout` seconds. Returns whether it has."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _end(self) -> None:
        self.stop()
        self.wait()

    def _fit(self, image: Tensor, mask: Tensor, stopping: threading.Event) -> None:
        """What the thread does."""

        def watch(step: int, averages: Tensor) -> bool:
            if step == 1 or step % EVERY == 0:
                self._show(torch.where(mask, image, averages.mean(0)))
                error = ((averages - image).square().mean(1) * kept).sum() / kept.sum()
                self._say(f"Step {step} of {self.steps}: mean squared error on held-out pixels {error:.4f}")
            return stopping.is_set()

        try:
            _, kept = observations.split(mask, HELD_OUT, range(self.members), self.seed)
            made = deep_image_prior(
                image,
                mask=mask,
                network=hourglass(tuple(image.shape), (16,) * (self.size.bit_length() - 3)),
                members=self.members,
                steps=self.steps,
                held_out=HELD_OUT,
                on_step=watch,
                seed=self.seed,
            )
            self.restoration = made
            self._show(torch.where(mask, image, made.image))
            self._say(_outcome(made, self.steps))
        except Exception as error:  # whatever it is, this line is where a learner looks
            self._say(str(error) or repr(error))
        finally:
            self.stop_button.disabled = True

    def _photo_chosen(self, change: dict) -> None:
        if change["new"] is not None:  # None while a picture of one's own is there
            self._take(photo(change["new"], self.size))

    def _file_chosen(self, change: dict) -> None:
        for name, file in _files(change["new"]):
            content = io.BytesIO(file["content"])
            try:
                picture = load_image(content, self.size)
            except Exception as error:  # a file of any kind; the picture that is there stays
                said = str(error).replace(str(content), name)
            else:
                self.photos.value = None
                self._take(picture)
                said = f"Own picture: {name}"
            self.file_line.value = html.escape(said)  # on a line that no fit writes to
            self.upload.set_trait("value", type(change["new"])())  # so that the same file can be chosen again

    def _take(self, picture: Tensor) -> None:
        """Another picture: no paint, nothing inpainted."""
        self._end()
        self.image, self.restoration, self.inpainted = picture, None, None
        self.canvas.clear()
        self.canvas.show(picture)
        self.result.show(_blank(self.size))
        self.file_line.value = ""
        self._say(HOW_TO)

    def _show(self, picture: Tensor) -> None:
        self.inpainted = picture
        self.result.show(picture)

    def _say(self, message: str) -> None:
        self.message = message
        self.line.value = html.escape(message)

    def _ipython_display_(self) -> None:
        buttons = widgets.HBox([self.clear_button, self.start_button, self.stop_button])
        columns = [self.photos, self.canvas, self.brush], [self.upload, self.result, buttons]
        boxes = [
            widgets.VBox(column, layout=widgets.Layout(grid_gap="4px", flex="none")) for column in columns
        ]
        pictures = widgets.HBox(boxes, layout=widgets.Layout(grid_gap="16px", flex_flow="row wrap"))
        display(widgets.VBox([pictures, self.line, self.file_line]))


def inpainting_studio(
    size: int = 64, steps: int = 300, members: int = 1, seed: int | torch.Generator = 0
) -> InpaintingStudio:
    """Show a live cell in which one paints over a part of a picture and a deep image prior fills it in again.

    Pixels that were not painted over are kept: the network's picture is shown in the hole only.

    Args:
        size: side of the pictures in pixels, at least 8; larger photos are cut to their middle square and scaled down.
        steps: of the fit.
        members: number of networks; the mean of their pictures is shown.
        seed: of the fit, so that the same hole is filled in the same way again.

    >>> studio = inpainting_studio(size=16, steps=5)
    >>> studio.paint(8, 8), studio.start(), studio.wait()  # as with the mouse
    (None, None, True)
    """
    return InpaintingStudio(size, steps, members, seed)


def _files(chosen: tuple | dict) -> list[tuple[str, dict]]:
    """Files by name: ipywidgets 8 lists them, ipywidgets 7, which Colab has, keeps them by name."""
    return list(chosen.items()) if isinstance(chosen, dict) else [(file["name"], file) for file in chosen]


def _button(text: str, icon: str, **more) -> widgets.Button:
    return widgets.Button(description=text, icon=icon, layout=widgets.Layout(width="102px"), **more)


def _blank(size: int) -> Tensor:
    return torch.full((1, size, size), 0.93)


def _outcome(made: Restoration, steps: int) -> str:
    done, (first, *_, last) = len(made.loss), sorted(made.chosen_step.tolist() * 2)
    chosen = f"step {first}" if first == last else f"steps {first} to {last}"
    least = made.held_out_error.min(0).values.mean()
    return (
        f"{'Done' if done == steps else 'Stopped'} after {done} steps, {made.seconds:.1f} s. Shown: {chosen}, "
        f"where the mean squared error on held-out pixels was least: {least:.4f}"
    )
