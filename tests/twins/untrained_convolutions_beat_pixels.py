"""Accuracy of a linear classifier: on the means of 128 random convolutional features minus on the pixels.

Patches of 32 x 32 from seven grey photos of scikit-image, each a class, scaled to mean 0 and std 1, so that texture
alone tells them apart. Features: random 5 x 5 filters, ReLU, mean over the patch. Ridge regression on one-hot labels,
its strength by generalised cross-validation. Left halves of the photos to learn from, right halves to test.
"""

import numpy as np
from scipy.signal import fftconvolve
from skimage import color, data
from sklearn.linear_model import RidgeClassifierCV

PHOTOS = "astronaut", "camera", "coffee", "brick", "grass", "gravel", "chelsea"


def cut(photo, rng, number):
    rows, columns = (rng.integers(0, size - 32, number) for size in photo.shape)
    patches = np.stack([photo[r : r + 32, c : c + 32] for r, c in zip(rows, columns)])
    return (patches - patches.mean((1, 2), keepdims=True)) / (patches.std((1, 2), keepdims=True) + 1e-6)


def value(seed):
    rng = np.random.default_rng(seed)
    train, test = [], []
    for name in PHOTOS:
        photo = np.asarray(getattr(data, name)(), dtype=float)
        photo = color.rgb2gray(photo / 255) if photo.ndim == 3 else photo / 255
        half = photo.shape[1] // 2
        train.append(cut(photo[:, :half], rng, 60))
        test.append(cut(photo[:, half:], rng, 60))
    labels = np.repeat(np.arange(len(PHOTOS)), 60)
    train, test = np.concatenate(train), np.concatenate(test)
    filters = rng.normal(size=(128, 5, 5)) / 5

    def features(images):
        return np.stack(
            [np.maximum(fftconvolve(images, f[None], "valid", (1, 2)), 0).mean((1, 2)) for f in filters], 1
        )

    def accuracy(a, b):
        centre, spread = a.mean(0), a.std(0) + 1e-9
        fit = RidgeClassifierCV(np.logspace(-3, 6, 10)).fit((a - centre) / spread, labels)
        return fit.score((b - centre) / spread, labels)

    return accuracy(features(train), features(test)) - accuracy(
        train.reshape(len(train), -1), test.reshape(len(test), -1)
    )
