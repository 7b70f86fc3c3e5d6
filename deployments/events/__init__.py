"""Events between processes: what changed, and who waits for it."""
