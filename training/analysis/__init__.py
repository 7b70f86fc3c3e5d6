"""Trainers of the analyser: key profiles, judges of rhythm, the adapter of mood and style."""
