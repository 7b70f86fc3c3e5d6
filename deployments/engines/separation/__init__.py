"""Source separators: Demucs, segment by segment."""
