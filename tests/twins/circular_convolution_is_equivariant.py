"""Largest change of the last feature map when the image is shifted and the map is shifted back, over its largest value.

Three layers of random filters with SciPy's convolution, circular at the borders, and ReLU between.
"""

import numpy as np
from scipy.ndimage import convolve


def features(image, filters):
    maps = [image]
    for layer in filters:
        maps = [np.maximum(sum(convolve(m, f, mode="wrap") for m, f in zip(maps, row)), 0) for row in layer]
    return np.stack(maps)


def value(seed):
    rng = np.random.default_rng(seed)
    image = rng.uniform(size=(12, 12))
    filters = [rng.normal(size=shape) for shape in ((3, 1, 3, 3), (4, 3, 3, 3), (2, 4, 3, 3))]
    shift = tuple(rng.integers(1, 12, 2))
    plain = features(image, filters)
    back = np.roll(features(np.roll(image, shift, (0, 1)), filters), tuple(-s for s in shift), (1, 2))
    return np.abs(back - plain).max() / np.abs(plain).max()
