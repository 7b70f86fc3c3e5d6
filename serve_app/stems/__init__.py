"""Stems of nodes over HTTP."""
