"""Exports beside plain ffmpeg."""
