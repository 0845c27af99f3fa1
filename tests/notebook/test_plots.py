"""Shared pictures against the number of things drawn."""

import matplotlib.pyplot as plt
import torch

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
