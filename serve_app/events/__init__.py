"""Server-sent events of chains and jobs."""
