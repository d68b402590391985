# SPDX-License-Identifier: Apache-2.0
"""The picture of a DICOM file in shades of grey, in the form that `sealroom images` makes.

Stored values become measured ones (slope and intercept), and a declared window makes shades of 0 to 255 of
them. Black is black also where a file stores it the other way round. Sizes are bounded before anything is
decoded.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any

from sealroom_agents.owner.images import FITS, MAX_PIXELS, Form, Unfit, fitted
from sealroom_agents.owner.prepare.words import Words

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
_SHADES = 255
_RLE_HEADER = struct.Struct("<16I")


@dataclass(frozen=True)
class Pixels:
    """How pictures are taken."""

    column: str
    """Of the table."""
    form: Form
    """Their size, and what is done to another shape."""
    window: tuple[float, float] | None
    """Centre and width of the values that become shades, after slope and intercept; `None`: all that can be
    stored."""

    def of(self, dataset: Any) -> bytes:
        """Shades of 0 to 255, row by row. Raises `Unfit`."""
        from PIL import Image

        slope, intercept = _checked(dataset)
        shades = self._shades(_stored(dataset), dataset, slope, intercept)
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            shades = _SHADES - shades
        size = int(dataset.Columns), int(dataset.Rows)
        return fitted(Image.frombytes("L", size, shades.tobytes()), self.form).tobytes()

    def _shades(self, stored: Any, dataset: Any, slope: float, intercept: float) -> Any:
        import numpy as np

        values = stored * slope + intercept
        if self.window is None:
            signed, bits = dataset.PixelRepresentation, dataset.BitsStored
            ends = [(-(2 ** (bits - 1)) if signed else 0), 2 ** (bits - (1 if signed else 0)) - 1]
            low, high = sorted(each * slope + intercept for each in ends)
        else:
            # The linear function of PS3.3, C.11.2.1.2.1.
            centre, width = self.window
            low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        return np.rint(np.clip((values - low) / (high - low), 0, 1) * _SHADES).astype(np.uint8)


def _checked(dataset: Any) -> tuple[float, float]:
    """Slope and intercept of a picture that can be taken; all that says how large it is, is looked at."""
    get = dataset.get
    if "PixelData" not in dataset:
        raise Unfit("has no pixels of whole numbers")
    if get("SamplesPerPixel") != 1 or get("PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2"):
        raise Unfit("is not in shades of grey (MONOCHROME1 or MONOCHROME2)")
    if int(get("NumberOfFrames") or 1) != 1:
        raise Unfit("has several frames")
    rows, columns = get("Rows"), get("Columns")
    if type(rows) is not int or type(columns) is not int or not 0 < rows * columns <= MAX_PIXELS:
        raise Unfit(f"does not say its rows and columns, or has more than {MAX_PIXELS:,} pixels")
    allocated, stored = get("BitsAllocated"), get("BitsStored")
    if allocated not in (8, 16) or type(stored) is not int or not 1 <= stored <= allocated:
        raise Unfit("has pixels of neither 8 nor 16 bits")
    if get("HighBit") != stored - 1 or get("PixelRepresentation") not in (0, 1):
        raise Unfit("does not keep its pixels in the lowest bits")
    if "ModalityLUTSequence" in dataset:
        raise Unfit("says by a table, and not by slope and intercept, what was measured")
    slope, intercept = float(get("RescaleSlope", 1) or 0), float(get("RescaleIntercept", 0) or 0)
    if not (math.isfinite(slope) and math.isfinite(intercept)) or slope == 0:
        raise Unfit("has a slope or an intercept that is no number, or zero")
    return slope, intercept


def _stored(dataset: Any) -> Any:
    """What is stored, without bits above those that are the picture's: older files keep overlays there."""
    import numpy as np
    from PIL import Image
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import RLELossless

    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Unfit(f"is packed as {syntax.name}, which is not decoded") from None
    if not decoder.is_available:
        raise Unfit(f"is packed as {syntax.name}, for which pydicom finds no decoder")
    expected = int(dataset.Rows) * int(dataset.Columns) * dataset.BitsAllocated // 8
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    try:
        if syntax == RLELossless and rle_bytes(dataset.PixelData) > 2 * expected + 1024:
            raise Unfit("unpacks to more than its picture")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            array, _ = decoder.as_array(dataset, raw=True)
    except Unfit:
        raise
    except Exception:  # pydicom and its decoders raise whatever a broken file makes them meet
        raise Unfit(f"has pixels ({syntax.name}) that cannot be decoded") from None
    if array.shape != (dataset.Rows, dataset.Columns) or array.dtype.kind not in "iu":
        raise Unfit("has pixels that are not as many as its rows and columns")
    bits = dataset.BitsStored
    values = array.astype(np.int64) & ((1 << bits) - 1)
    return values - ((values >> (bits - 1)) << bits) if dataset.PixelRepresentation else values


def rle_bytes(packed: bytes) -> int:
    """How many bytes one frame of RLE unpacks to (PS3.5, annex G), found without unpacking it."""
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(packed, number_of_frames=1))
    count, *offsets = _RLE_HEADER.unpack_from(frame)
    ends = [*offsets[1:count], len(frame)]
    total = 0
    for begin, end in zip(offsets[:count], ends, strict=True):
        at = begin
        while at < end:
            head = frame[at]
            at += 2 if head > 128 else 1 if head == 128 else head + 2
            total += 257 - head if head > 128 else 0 if head == 128 else head + 1
    return total


def read_pixels(words: Words) -> Pixels:
    """Read `[input.pixels]`. Raises `prepare-malformed`."""
    from sealroom.privacy.features import MAX_LENGTH

    size = _SIZE.fullmatch(words.text("size", limit=16))
    if size is None:
        words.fail("has size that is not width x height", 'size = "64x64"')
    fit = words.one_of("fit", FITS, "exact")
    form = Form(int(size[1]), int(size[2]), 1, next(each for each in FITS if each == fit))
    if form.length > MAX_LENGTH:
        words.fail(f"has size of {form.length:,} numbers; a model takes {MAX_LENGTH:,}")
    found = Pixels(words.line("column") or "pixels", form, _window(words))
    words.done()
    return found


def _window(words: Words) -> tuple[float, float] | None:
    value = words.raw("window")
    if value == "stored":
        return None
    numbers = value if isinstance(value, list) and len(value) == 2 else [None]
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in numbers):
        words.fail("has window that is neither centre and width nor stored", "window = [40, 400]")
    centre, width = map(float, numbers)
    if not (math.isfinite(centre) and math.isfinite(width)) or width <= 1:
        words.fail("has window whose width is not above 1")
    return centre, width
