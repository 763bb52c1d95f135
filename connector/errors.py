"""The exception tree: the class says what may be done next.

ConnectorError
├── ConfigurationError      stops the start with exit code 78
├── Unavailable             a dependency is not there: exit code 69
│   ├── TopicsUnfit         topics missing or wrong
│   └── Unacknowledged      Kafka is there and does not take records of a topic now
├── InvalidRecord           a record that cannot be read or validated: dead letter
│   └── Rejected            a command that is never sent to Twilio
├── Superseded              another owner has this partition: stop, write nothing more
├── Unwritable              Kafka refuses a record, for its size or its topic, say: write less
└── TwilioError             a request to Twilio without a 2xx
    ├── Refused             Twilio said no: final
    │   └── BadCredentials  401: confirm before stopping
    ├── NotExecuted         certainly not done: may be sent again
    └── PerhapsExecuted     sent, and not known to be executed: a create is in doubt
        └── Unreadable      a 2xx whose body cannot be read
"""

from collections.abc import Sequence

# What is written about a failure is bounded, whatever it quotes.
MESSAGE_BYTES = 2_000
WORD_BYTES = 300
MANY = 10
FIRST = 2


class ConnectorError(Exception):
    """Everything that the connector raises on purpose."""

    exit_code = 1


class ConfigurationError(ConnectorError):
    """Settings that cannot be used; `problems` holds one sentence each, with origin and remedy."""

    exit_code = 78

    def __init__(self, problems: Sequence[str] | str) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class Unavailable(ConnectorError):
    """A dependency that must be there is not."""

    exit_code = 69


class Unacknowledged(Unavailable):
    """Kafka is there and does not acknowledge records; `topic` is the one whose leader is silent, where that is known.

    The records may still have been written.
    """

    def __init__(self, message: str, *, topic: str | None = None) -> None:
        super().__init__(message)
        self.topic = topic


class TopicsUnfit(Unavailable):
    """Topics are missing or have wrong settings; `problems` holds one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class InvalidRecord(ConnectorError):
    """A record that cannot be read or validated. The message names the field and never holds its content."""


class Rejected(InvalidRecord):
    """A command that is answered with `rejected` and never sent to Twilio."""


class Superseded(ConnectorError):
    """The broker or the group has given this partition to another owner."""


class Unwritable(ConnectorError):
    """Kafka refuses a record, whatever its reason; the same again would be refused again.

    `topic` is the record's, where that is known. `is_of_topic`: it refuses any record of that topic, until an operator
    acts.
    """

    def __init__(self, message: str, *, topic: str | None = None, is_of_topic: bool = False) -> None:
        super().__init__(message)
        self.topic = topic
        self.is_of_topic = is_of_topic


class TwilioError(ConnectorError):
    """A request to Twilio that did not end in a 2xx.

    `status` is the HTTP status (0 without an answer), `code` Twilio's error code, `request_id` its `RQ…`,
    `retry_after` seconds if Twilio named a delay. `message` is Twilio's own and may echo numbers: do not log it.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 0,
        code: int | None = None,
        more_info: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        body: object = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.more_info = more_info
        self.request_id = request_id
        self.retry_after = retry_after
        self.body = body

    @property
    def label(self) -> str:
        """What may be logged: our own sentence; of an answer, whose text is Twilio's, class, status and code only."""
        return f"{type(self).__name__} status={self.status} code={self.code}" if self.status else self.message


class Refused(TwilioError):
    """Twilio said no (4xx but 429): sending the same again gives the same."""


class BadCredentials(Refused):
    """401, or 403 with code 20003."""


class NotExecuted(TwilioError):
    """Certainly not executed: 429, connection refused, DNS or TLS failure before the request was written."""


class PerhapsExecuted(TwilioError):
    """Sent, and no answer that tells: timeout, reset, any 5xx. A create may not be repeated blindly."""


class PerhapsStored(PerhapsExecuted):
    """Twilio answered, but Kafka did not say whether it took what was read."""


class Unreadable(PerhapsExecuted):
    """Twilio answered 2xx with a body that cannot be read; the message says why and holds nothing of the body."""

    @property
    def label(self) -> str:
        """The message, which is our own."""
        return self.message


# --- what is written about a failure ----------------------------------------------------------------------------------
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
