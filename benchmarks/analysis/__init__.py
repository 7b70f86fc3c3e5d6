"""The analyser on music of known truth, beside librosa."""
