"""Health, models, capacity and configuration over HTTP."""
