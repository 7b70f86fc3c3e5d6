"""Analysers: tempo, key, energy, mood, style, melody and sections of a clip."""
