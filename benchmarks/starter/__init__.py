"""What the starter models are worth, on songs and a sound font that nothing was learnt from."""
