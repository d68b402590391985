# SPDX-License-Identifier: Apache-2.0
"""One picture as a list of whole numbers, decoded where its owner is.

Decoders of pictures are large, and hostile files are made for them. So no measured code has one: what is
sealed is numbers, of a length that the recipe declares.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from PIL import Image

Fit = Literal["exact", "crop", "pad", "stretch"]
FITS: tuple[Fit, ...] = ("exact", "crop", "pad", "stretch")
FORMATS = ("PNG", "JPEG")
SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 2**26
"""Most pixels of a picture before it is made smaller: it is held in memory with four bytes each."""
_EIGHT_BITS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's names of pixels of up to 8 bits a channel."""


@dataclass
class Unfit(Exception):
    """A picture that is not taken: why, as it follows `row 3`. Never a name of a file, which may be of a
    person."""

    reason: str


@dataclass(frozen=True)
class Form:
    """What every picture is made to be."""

    width: int
    height: int
    channels: Literal[1, 3]
    """1 for shades of grey; 3 for red, green and blue."""
    fit: Fit

    @property
    def length(self) -> int:
        """How many numbers a picture has."""
        return self.channels * self.height * self.width


class Picture(NamedTuple):
    """A picture that is taken."""

    numbers: bytes
    """From 0 to 255: channel by channel, each row by row."""
    times: float
    """How many times as wide or high it was made as it was, the larger of both."""


def picture(path: Path, form: Form) -> Picture:
    """A picture in the form that is asked for. Raises `Unfit`."""
    from PIL import Image

    if not path.is_file():
        raise Unfit("names no file in the folder")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise Unfit(f"is a file of more than {MAX_FILE_BYTES // 2**20} MiB")
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                upright = _coloured(opened, form)
                made = fitted(upright, form)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Unfit(f"has more than {MAX_PIXELS:,} pixels") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError, struct.error, zlib.error):
        # what Pillow raises for broken files
        raise Unfit(f"is no picture in one of the formats {', '.join(FORMATS)}, or is broken") from None
    numbers = b"".join(channel.tobytes() for channel in made.split())
    return Picture(numbers, _times(upright.size, form))


def _coloured(image: Image.Image, form: Form) -> Image.Image:
    """Upright, and in the channels that are asked for."""
    if image.mode not in _EIGHT_BITS:
        raise Unfit("has more than 8 bits a pixel: which of them are dark and which bright is not for a tool")
    if getattr(image, "n_frames", 1) > 1:
        raise Unfit("has several pictures in one file")
    upright = _upright(image)
    if upright.has_transparency_data and upright.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise Unfit("is transparent in places: what is seen there is not for a tool to say")
    return upright.convert("L" if form.channels == 1 else "RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Turned as its file says that it is to be seen.

    Pillow's own function for it writes what a file says of itself again, and fails in many ways where that is
    broken.
    """
    from PIL import ExifTags, Image

    turn = Image.Transpose
    turns = {
        2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE,
        6: turn.ROTATE_270, 7: turn.TRANSVERSE, 8: turn.ROTATE_90,
    }  # fmt: skip
    said = image.getexif().get(ExifTags.Base.Orientation)
    return image.transpose(turns[said]) if said in turns else image


def _times(size: tuple[int, int], form: Form) -> float:
    across, down = form.width / size[0], form.height / size[1]
    return min(across, down) if form.fit == "pad" else max(across, down)


def fitted(image: Image.Image, form: Form) -> Image.Image:
    """In the size that is asked for: a pixel is the mean of those that it covers, or one of them."""
    from PIL import Image, ImageOps

    size, mean = (form.width, form.height), Image.Resampling.BOX
    if form.fit == "crop":
        return ImageOps.fit(image, size, mean)
    if form.fit == "pad":
        return ImageOps.pad(image, size, mean)
    if form.fit == "exact" and image.width * form.height != image.height * form.width:
        raise Unfit(f"has not the shape of {form.width} × {form.height}")
    return image.resize(size, mean)
