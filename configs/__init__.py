"""Settings: frozen pydantic models, profiles, and the only reader of the environment."""
