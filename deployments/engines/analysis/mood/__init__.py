"""Style, valence and arousal: features of timbre, CLAP embeddings, and the adapter between them."""
