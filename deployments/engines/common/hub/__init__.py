"""Weights by their names on the Hugging Face hub: which files a model needs, whether the cache has them, and a
download that resumes. The cache is the hub's own (`HF_HOME`), so what `hf download` fetched is found."""
