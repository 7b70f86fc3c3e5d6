"""Uploaded files to canonical audio, in a process of its own with limits."""
