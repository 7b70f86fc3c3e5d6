"""What an accepted job is to do: one frozen dataclass for each kind, with the form that its record holds."""
