"""`/process` and its jobs over HTTP."""
