"""What makes the weights that the project ships: the corpus, and the trainers. Not in the wheel."""
