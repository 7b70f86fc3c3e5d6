"""The separator beside Demucs and librosa."""
