"""Chroma, key, and the melody's pitch."""
