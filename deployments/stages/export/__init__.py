"""Exports: a line of nodes as one file."""
