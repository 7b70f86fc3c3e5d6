"""Music generators: MusicGen in audiocraft's format, batched or through audiocraft itself."""
