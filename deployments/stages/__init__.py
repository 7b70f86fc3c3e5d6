"""The steps of jobs. They know Protocols, never engines, and run equally with a fake or a Serve handle."""
