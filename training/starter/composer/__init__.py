"""Songs from a seed: styles with their grooves, progressions and instruments, phrases that return, arrangement."""
