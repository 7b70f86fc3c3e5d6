"""EnCodec decoded in exact stretches."""
