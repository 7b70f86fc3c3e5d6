"""What can be wrong with what is given to be made into a media file.

MediaError
├── EmptyFrames      a video without a frame
├── EmptyAudio       audio without a sample
├── WrongShape       an array of other dimensions, or of others than the ones before
├── WrongDtype       an array of other numbers
├── WrongValue       a rate, a size or a text outside what the file can hold, or samples that are no numbers
│   └── WrongOption      a choice that the format does not have; `field` is the request's name for it
└── BadPicture       a cover that is no picture, or larger than is read

What goes wrong in ffmpeg itself is an `ExportError`: FfmpegMissing, FfmpegFailed, FfmpegTimedOut.
"""

from __future__ import annotations


class MediaError(ValueError):
    """`detail` is one sentence in a musician's words; it names no path and no library."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class EmptyFrames(MediaError):
    pass


class EmptyAudio(MediaError):
    pass


class WrongShape(MediaError):
    pass


class WrongDtype(MediaError):
    pass


class WrongValue(MediaError):
    pass


class WrongOption(WrongValue):
    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


class BadPicture(MediaError):
    pass
