"""Shared pictures against the number of things drawn."""

from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from IPython.core.formatters import PNGFormatter
from IPython.core.interactiveshell import InteractiveShell

from bdlcore import plots


def test_shared_pictures_draw_what_they_are_given():
    figure, ax = plt.subplots()
    x = torch.linspace(0, 1, 11)[:, None]
    plots.band(ax, x, x, 0.1 * torch.ones(11, 1))
    plots.functions(ax, x, torch.randn(50, 11, 1), most=7)
    plots.data(ax, x, x[:, 0])
    plots.label_line(ax, 1.0, 1.0, "name", plots.RED)
    assert len(ax.lines) == 1 + 7 + 1 and len(ax.collections) == 1
    assert ax.texts[0].get_text() == "name"
    plt.close(figure)


def test_names_of_curves_can_be_read_on_white():
    assert plots.contrast("#767676") == pytest.approx(
        4.54, abs=0.005
    )  # the lightest grey that passes, published
    assert plots.contrast("white") == 1 and plots.contrast("black") == pytest.approx(21)
    palette = [
        plots.BLUE,
        plots.ORANGE,
        plots.GREEN,
        plots.RED,
        plots.PURPLE,
        plots.SKY,
        plots.YELLOW,
        plots.GREY,
    ]
    shown = [plots.legible(color) for color in palette]
    assert all(plots.contrast(color) >= 4.5 for color in shown) and len({*shown}) == len(palette)
    assert shown[0] == plots.BLUE.lower() and plots.contrast(plots.YELLOW) < 1.5
    figure, ax = plt.subplots()
    plots.label_line(ax, 0.0, 0.0, "name", plots.SKY)
    assert ax.texts[0].get_color() == plots.legible(plots.SKY)
    plt.close(figure)


def test_text_in_a_described_figure_can_be_read_on_white():
    figure, (ax, picture) = plt.subplots(1, 2)
    names = [ax.text(0, 0, "aleatoric", color=plots.ORANGE), ax.set_title("epistemic", color=plots.SKY)]
    dark = ax.annotate("HMC", (0, 0), color=plots.BLUE)
    ax.plot([0, 1], [0, 1], color=plots.ORANGE, label="SGLD")
    (named,) = ax.legend(labelcolor="linecolor").get_texts()
    white = ax.text(0, 0, "on a dark bar", color="white")
    picture.imshow([[0.0, 1.0]])
    inside, above = picture.text(0, 0, "7", color=plots.YELLOW), picture.set_title("digit", color=plots.GREY)
    plots.describe(figure, "Two panels with text in every colour.")
    assert [text.get_color() for text in names] == [plots.legible(plots.ORANGE), plots.legible(plots.SKY)]
    assert dark.get_color() == plots.BLUE and white.get_color() == "white"
    assert names[0].get_path_effects() and dark.get_path_effects() and not white.get_path_effects()
    assert named.get_path_effects() and named.get_color() == plots.legible(plots.ORANGE)
    assert not names[1].get_path_effects() and not inside.get_path_effects()
    assert inside.get_color() == plots.YELLOW and above.get_color() == plots.legible(plots.GREY)
    plt.close(figure)


@pytest.fixture
def shell():
    """A shell as a notebook has it, which is gone again when the test ends."""
    backend = matplotlib.get_backend()
    yield InteractiveShell.instance()
    InteractiveShell.clear_instance()
    matplotlib.use(backend)


def test_a_described_figure_carries_its_text_into_the_page(shell):
    run_cell = shell.run_cell
    run_cell(
        "import matplotlib.pyplot as plt; from bdlcore import plots; get_ipython().enable_matplotlib('inline')"
    )
    run_cell("figure, _ = plt.subplots(); plots.describe(figure, 'A line that\\n rises with x')")
    format = shell.display_formatter.format
    shown = shell.user_ns["figure"]
    bundle, metadata = format(shown)
    assert "image/png" in bundle
    assert metadata["image/png"]["alt"] == "A line that rises with x" == shown.get_label()
    bare, _ = plt.subplots()
    assert "alt" not in format(bare)[1].get("image/png", {})
    with pytest.raises(ValueError, match="in a sentence; got 'plot'"):
        plots.describe(bare, "plot")
    plt.close("all")


def test_a_figure_can_be_described_in_a_shell_without_pictures(monkeypatch):
    formatters = {"image/png": PNGFormatter()}
    shell = SimpleNamespace(display_formatter=SimpleNamespace(formatters=formatters))
    monkeypatch.setattr(plots, "get_ipython", lambda: shell)
    figure, _ = plt.subplots()
    plots.describe(figure, "A line that rises with x")
    assert figure.get_label() == "A line that rises with x"
    plt.close(figure)
