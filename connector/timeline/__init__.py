"""Records joined for people: the model that `tail` and the console share, and its entries as lines on a terminal."""
