"""Pictures side by side with labels, as one PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .files import write_whole

if TYPE_CHECKING:
    from PIL.Image import Image

MARGIN, LABEL_HEIGHT, FONT_SIZE = 8, 26, 15
ZOOM_WIDTH = 96  # pixels of the photo that are shown magnified
WIDEST = 900  # pixels of one picture in the sheet; larger photos are scaled down, small ones stay as they are


def to_image(picture: Tensor) -> Image:
    """``[1, 3, h, w]`` in 0..1 as an 8-bit RGB image."""
    from PIL import Image

    pixels = (picture[0].detach().clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    return Image.frombytes("RGB", (pixels.shape[1], pixels.shape[0]), bytes(pixels.flatten().tolist()))


def sheet(pictures: Sequence[tuple[str, Tensor]], zoom_at: tuple[int, int] | None = None) -> Image:
    """All pictures in one row, each under its label; below each a magnified part of it.

    Args:
        pictures: (label, ``[1, 3, h, w]`` in 0..1), all of one size.
        zoom_at: row and column of the middle of that part; None for no second row.
    """
    from PIL import Image, ImageDraw, ImageFont

    columns = []
    for label, picture in pictures:
        image = to_image(picture)
        whole = image
        if image.width > WIDEST:
            whole = image.resize(
                (WIDEST, max(1, round(image.height * WIDEST / image.width))), Image.Resampling.LANCZOS
            )
        parts = [whole] if zoom_at is None else [whole, magnified(image, zoom_at, whole.width)]
        columns.append((label, parts))
    width = columns[0][1][0].width
    height = sum(part.height + MARGIN for part in columns[0][1])
    page = Image.new("RGB", (len(columns) * (width + MARGIN) + MARGIN, height + LABEL_HEIGHT), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(FONT_SIZE)
    for i, (label, parts) in enumerate(columns):
        left, top = MARGIN + i * (width + MARGIN), LABEL_HEIGHT
        draw.text((left, 4), label, fill="black", font=font)
        for part in parts:
            page.paste(part, (left, top))
            top += part.height + MARGIN
    return page


def magnified(image: Image, at: tuple[int, int], width: int) -> Image:
    """The part of `image` around row and column `at`, half as high as wide, enlarged to `width` without smoothing."""
    from PIL import Image

    part_w, part_h = min(ZOOM_WIDTH, image.width), min(ZOOM_WIDTH // 2, image.height)
    left = min(max(at[1] - part_w // 2, 0), image.width - part_w)
    top = min(max(at[0] - part_h // 2, 0), image.height - part_h)
    part = image.crop((left, top, left + part_w, top + part_h))
    return part.resize((width, max(1, round(width * part_h / part_w))), Image.Resampling.NEAREST)


def most_different(a: Tensor, b: Tensor) -> tuple[int, int]:
    """Row and column around which two pictures ``[1, 3, h, w]`` differ most (mean over windows of 33 pixels)."""
    difference = (a - b).abs().mean(dim=1, keepdim=True)
    window = min(33, *difference.shape[-2:])
    means = torch.nn.functional.avg_pool2d(difference, window, stride=1)
    best = int(means.flatten().argmax())
    return best // means.shape[-1] + window // 2, best % means.shape[-1] + window // 2


def save_png(image: Image, path: Path) -> Path:
    return write_whole(path, png_bytes(image))


def png_bytes(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
