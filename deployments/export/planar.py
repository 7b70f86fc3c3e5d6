"""Pictures as H.264 stores them: planar YUV 4:2:0, BT.709 matrix, limited range.

A picture is uint8 RGB [height, width, 3]. Sides are even in 4:2:0; an odd one is padded by repeating its last
row or column. Chroma is the mean of four pixels, sited in their centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.export.media_errors import WrongDtype, WrongShape, WrongValue

Picture = npt.NDArray[np.uint8]
"""RGB [height, width, 3]."""

MAX_SIDE = 4096

_RED, _BLUE = 0.2126, 0.0722
_GREEN = 1.0 - _RED - _BLUE
_LUMA = np.array([_RED, _GREEN, _BLUE], np.float32) * np.float32(219.0 / 255.0)
_CHROMA = np.array(
    [
        [-_RED / (2 * (1 - _BLUE)), -_GREEN / (2 * (1 - _BLUE)), 0.5],
        [0.5, -_GREEN / (2 * (1 - _RED)), -_BLUE / (2 * (1 - _RED))],
    ],
    np.float32,
) * np.float32(224.0 / 255.0)


@dataclass(frozen=True, slots=True)
class FrameSize:
    """Even width and height of planar frames, in pixels. Raises WrongValue for others and over MAX_SIDE."""

    width: int
    height: int

    def __post_init__(self) -> None:
        for side in (self.width, self.height):
            if not 2 <= side <= MAX_SIDE or side % 2:
                raise WrongValue(f"A frame's sides must be even and 2 to {MAX_SIDE} pixels, not {side}.")

    @property
    def frame_bytes(self) -> int:
        return self.width * self.height * 3 // 2


class PlanarFrame:
    """One frame: its bytes as they go to the encoder, and the three planes as views of them."""

    def __init__(self, size: FrameSize) -> None:
        self.size = size
        self._data = np.zeros(size.frame_bytes, np.uint8)
        pixels, half = size.width * size.height, (size.height // 2, size.width // 2)
        chroma = pixels // 4
        self.y = self._data[:pixels].reshape(size.height, size.width)
        self.u = self._data[pixels : pixels + chroma].reshape(half)
        self.v = self._data[pixels + chroma :].reshape(half)

    @property
    def data(self) -> memoryview:
        """A view: it changes with the frame."""
        return self._data.data

    def copy_columns(self, other: PlanarFrame, start: int, end: int) -> None:
        """Take the columns from `start` up to `end`, both even, out of another frame of the same size."""
        self.y[:, start:end] = other.y[:, start:end]
        self.u[:, start // 2 : end // 2] = other.u[:, start // 2 : end // 2]
        self.v[:, start // 2 : end // 2] = other.v[:, start // 2 : end // 2]

    def fill(self, picture: Picture) -> None:
        """Become this picture; `padded_size` of it is this frame's size. Raises WrongShape for another."""
        even = _pad_to_even(picture)
        if even.shape[:2] != (self.size.height, self.size.width):
            raise WrongShape(
                f"Every frame must have the size of the first one, {self.size.width}×{self.size.height}."
            )
        red, green, blue = (even[:, :, channel].astype(np.float32) for channel in range(3))
        luma = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
        luma += np.float32(16.5)
        self.y[:] = luma.astype(np.uint8)
        means = [_mean_of_four(colour) for colour in (red, green, blue)]
        for plane, weights in ((self.u, _CHROMA[0]), (self.v, _CHROMA[1])):
            chroma = means[0] * weights[0] + means[1] * weights[1] + means[2] * weights[2]
            chroma += np.float32(128.5)
            plane[:] = chroma.astype(np.uint8)


def to_planar(picture: Picture) -> PlanarFrame:
    """A picture as a planar frame. Raises as `padded_size`."""
    frame = PlanarFrame(padded_size(picture))
    frame.fill(picture)
    return frame


def padded_size(picture: Picture) -> FrameSize:
    """The size of its planar frame. Raises WrongDtype, WrongShape, WrongValue for what is no picture."""
    check_picture(picture)
    height, width = picture.shape[:2]
    return FrameSize(width + width % 2, height + height % 2)


def check_picture(picture: Picture) -> None:
    """Raises WrongDtype and WrongShape for anything but uint8 [height, width, 3] with at least one pixel."""
    if picture.dtype != np.uint8:
        raise WrongDtype(f"A frame must hold 8-bit colours (uint8), not {picture.dtype}.")
    if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
        raise WrongShape(f"A frame must be [height, width, 3], not {list(picture.shape)}.")


def _pad_to_even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    if height % 2 == width % 2 == 0:
        return picture
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _mean_of_four(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows = plane[0::2] + plane[1::2]
    return (rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25)
