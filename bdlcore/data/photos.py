"""Photos as float32 tensors (channels, height, width) in [0, 1]: those of scikit-image, embedded, or one's own."""

from __future__ import annotations

from functools import cache
from os import PathLike
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from .._support import validate

PHOTOS = ("astronaut", "camera", "chelsea", "coffee", "brick", "grass", "gravel", "coins")


def photo(name: str, size: int | None = 64, grey: bool = False) -> Tensor:
    """One of the photos that come with scikit-image, cut to its middle square and scaled down.

    Args:
        name: one of `bdl.data.PHOTOS`; astronaut, chelsea and coffee are in colour.
        size: side in pixels; the whole photo as it is when None.
        grey: brightness only.

    Returns:
        (3, size, size), or (1, size, size) for a grey photo or when `grey`.
    """
    if name not in PHOTOS:
        raise ValueError(f"Unknown photo {name!r}; choose one of {', '.join(PHOTOS)}, or use bdl.load_image.")
    pixels = _decoded(name)
    if name == "astronaut" and size is not None:
        pixels = pixels[:256, 96:352]  # her head: the whole photo is too much for few pixels
    return _as_picture(pixels, size, grey)


@cache
def _decoded(name: str) -> np.ndarray:
    """The photo's bytes, (height, width) or (height, width, 3): to decode one takes longer than all the rest."""
    from skimage import data

    return getattr(data, name)()


def load_image(source: str | PathLike | BinaryIO, size: int | None = None, grey: bool = False) -> Tensor:
    """Read an image file (whatever Pillow reads), upright and without its transparency.

    Args:
        source: path, or an open binary file.
        size: cut to the middle square and scale to this side; as it is when None.
        grey: brightness only.

    Returns:
        (3, height, width) or, when `grey`, (1, height, width).

    Raises:
        FileNotFoundError, PermissionError: when there is no such file, or none that may be read.
        ValueError: when it is not an image, has more than 8 bits per channel, or is too large to unpack.
    """
    return _as_picture(rgb(source), size, grey)


def rgb(source: str | PathLike | BinaryIO) -> np.ndarray:
    """The pixels of an image file as bytes (height, width, 3), upright; see `load_image`."""
    from PIL import Image, ImageOps

    if not isinstance(source, str | PathLike) and not hasattr(source, "read"):
        raise TypeError(f"source must be a path or an open binary file, got {type(source).__name__}.")
    try:
        with Image.open(source) as image:
            deep = image.mode.startswith(("I", "F"))  # Pillow would cut these numbers off at 255
            pixels = None if deep else np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise
    except PermissionError as error:
        raise PermissionError(
            f"{source} may not be read ({error.strerror}); change its permissions."
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{source} has too many pixels to be unpacked safely; save a smaller copy. ({error})"
        ) from error
    except (
        Exception
    ) as error:  # a broken file makes Pillow raise almost anything: OSError, SyntaxError, EOFError, ...
        raise ValueError(
            f"{source} is not an image that Pillow can read ({error}); use a PNG or JPEG."
        ) from error
    if deep:
        raise ValueError(f"{source} has more than 8 bits per channel; save it with 8, as PNG or JPEG.")
    return pixels


def _as_picture(pixels: np.ndarray, size: int | None, grey: bool) -> Tensor:
    """(H, W) or (H, W, 3) bytes to a picture."""
    from PIL import Image

    if size is not None:
        size, side = validate.count("size", size), min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
        pixels = np.asarray(square.resize((size, size), Image.Resampling.LANCZOS))
    picture = torch.tensor(pixels, dtype=torch.float32).div_(255)
    picture = picture[None] if picture.ndim == 2 else picture.permute(2, 0, 1).contiguous()
    if grey and len(picture) == 3:  # the brightness of ITU-R 601, as in Pillow
        picture = torch.tensordot(torch.tensor([[0.299, 0.587, 0.114]]), picture, dims=1)
    return picture
