"""Records that could not be used: writing and reading them, what is decided about them, replaying them."""
