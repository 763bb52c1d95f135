"""What the documents say, generated, cut into snippets, followed and executed."""
