"""Music of known truth: composed from a seed, rendered by FluidSynth, spoiled a little, and scored against."""
