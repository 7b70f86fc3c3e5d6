"""MusicGen: loading audiocraft's checkpoints, and two engines over them, `batched` (Segue's) and `stock`."""
