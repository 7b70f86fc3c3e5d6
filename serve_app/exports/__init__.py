"""Exports of the spine over HTTP."""
