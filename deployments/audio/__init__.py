"""Pure DSP, and decoding: numpy in, numpy out. No model, storage, web or cluster code."""
