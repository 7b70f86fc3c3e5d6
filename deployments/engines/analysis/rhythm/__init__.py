"""Onsets, tempo, beats and bars."""
