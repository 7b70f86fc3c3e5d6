"""The generator beside audiocraft and transformers."""
