"""Analyses of nodes over HTTP."""
