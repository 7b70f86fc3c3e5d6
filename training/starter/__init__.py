"""The starter models: a MusicGen and a separator of our own, from music that is composed and rendered here."""
