"""Encoding with ffmpeg: a pure plan, and the one place that runs it."""
