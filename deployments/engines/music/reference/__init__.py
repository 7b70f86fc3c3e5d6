"""MusicGen by audiocraft's own `generate`: one take at a time. The reference that the batched engine is held to."""
