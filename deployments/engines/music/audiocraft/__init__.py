"""Checkpoints in audiocraft's format: import, configs, local folders, the tiny models."""
