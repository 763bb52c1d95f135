"""Bounds for what is written about a failure, whatever it quotes. Pure."""

MESSAGE_BYTES = 2_000
WORD_BYTES = 300
MANY = 10
FIRST = 2


def bounded(text: str, most: int = MESSAGE_BYTES) -> str:
    """The text, or its beginning and an ellipsis: at most so many bytes of UTF-8, which it can be written as."""
    raw = text.encode(errors="replace")
    if len(raw) <= most:
        return raw.decode()
    return raw[: most - len("…".encode())].decode(errors="ignore") + "…"


def listed(sentences: list[str], total: int | None = None) -> str:
    """The sentences in one; of many the first and how many more there are, of `total` where these are not all."""
    total = len(sentences) if total is None else total
    if total <= MANY:
        return "; ".join(sentences)
    first = sentences[:FIRST]
    return f"{'; '.join(first)} … and {total - len(first):,} more" if first else f"there are {total:,} mistakes"
