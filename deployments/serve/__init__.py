"""Serve classes, thin: each wraps one engine, worker or hub."""
