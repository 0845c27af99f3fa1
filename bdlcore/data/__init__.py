"""Data that the lessons use: made here, or shipped with scikit-learn, so nothing is downloaded unless asked for."""

from .._support.environment import data_folder as folder
from . import corruptions
from .labelled_images import CIFAR10, Split, cifar10, digits, image_folder, mnist, photo_patches
from .photos import PHOTOS
from .toy import curve, moons, random_curve, two_clusters

__all__ = [
    "CIFAR10",
    "PHOTOS",
    "Split",
    "cifar10",
    "corruptions",
    "curve",
    "digits",
    "folder",
    "image_folder",
    "mnist",
    "moons",
    "photo_patches",
    "random_curve",
    "two_clusters",
]
