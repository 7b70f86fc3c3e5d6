"""Metrics, load figures and logs."""
