"""Whether a member of a group makes progress, told from what happened when. Pure: every moment is an argument.

A client can be stuck without any error. Only an accepted commit tells that the group still knows us, and that an owner
which reads is not stuck; while Kafka is away nothing can be told, and nothing can be done but wait.
"""

from dataclasses import dataclass, field

# Session timeouts without an accepted commit, after which the client is rebuilt.
STUCK_SESSIONS = 3
NEVER = float("-inf")


@dataclass
class Watchdog:
    """The clocks of one membership, all in seconds of one monotonic clock.

    `session` is the session timeout, `joining` how long joining may take. For a lock, whose topics are not read, a
    commit of any partition counts for all of them.
    """

    session: float
    joining: float
    is_lock: bool
    started: float
    turned: float = field(init=False)
    """The loop of the member has turned."""
    known: float = field(init=False)
    """The group knew us."""
    healthy: float = field(init=False)
    """There was no reason to rebuild the client, nor to doubt that rebuilding it helps."""
    rejoining: float | None = field(init=False, default=None)
    """Partitions were taken away; None once others are assigned."""
    readers: dict[int, float] = field(init=False, default_factory=dict)
    """For each partition whose owner reads: its last accepted commit, or the moment when it began."""
    known_until: float = field(init=False, default=NEVER)
    """By the clock never set: until then the group has given nothing to others that was not given up.

    It takes out a member of which it has not heard for a session timeout. It heard what it answered after that was
    sent, and had not begun to rebalance then.
    """

    def __post_init__(self) -> None:
        self.turned = self.known = self.healthy = self.started

    @property
    def patience(self) -> float:
        """So long a member may be without an accepted commit."""
        return self.session * STUCK_SESSIONS

    # --- what happens -------------------------------------------------------------------------------------------------
    def turns(self, now: float) -> None:
        """The loop of the member turns."""
        self.turned = now

    def joins(self, now: float) -> None:
        """A new client has started. That proves little: one that is rebuilt again and again starts each time."""
        self.turned = self.known = now
        self.rejoining = None

    def finds_no_broker(self, now: float) -> None:
        """Kafka is away: it cannot tell whom it knows, and no other process can take over."""
        self.known = self.healthy = now
        self.readers = dict.fromkeys(self.readers, now)

    def loses_partitions(self, now: float) -> None:
        """The group is rebalancing."""
        self.rejoining = now

    def gains_partitions(self, now: float) -> None:
        """The rebalance is over."""
        self.rejoining = None
        self.known = now

    def begins_to_read(self, partition: int, now: float) -> None:
        """The owner of this partition reads from now on."""
        self.readers[partition] = now

    def ends_reading(self, partition: int) -> None:
        """The owner of this partition reads no more."""
        self.readers.pop(partition, None)

    def waits_for_owners(self, now: float) -> None:
        """No owner reads: there are none, or they are being opened, which has deadlines of its own."""
        self.known = self.healthy = now

    def is_known(self, sent: float) -> None:
        """The group has answered a request of that time, by the clock never set, and is not rebalancing."""
        self.known_until = max(self.known_until, sent + self.session)

    def is_accepted(self, partition: int, now: float) -> None:
        """The group has accepted a commit of this partition."""
        self.known = now
        if partition in self.readers:
            self.readers[partition] = now
        self.healthy = self.proof

    # --- what it means ------------------------------------------------------------------------------------------------
    @property
    def proof(self) -> float:
        """The last sign that no owner is stuck: that of the reading owner whose sign is oldest."""
        return self.known if self.is_lock else min(self.readers.values(), default=self.known)

    def is_rejoining_too_long(self, now: float) -> bool:
        """The rebalance does not end: rebuild the client."""
        return self.rejoining is not None and now - self.rejoining > self.joining

    def is_doubtful(self, now: float) -> bool:
        """No sign for too long: rebuild the client, unless Kafka itself is away."""
        return self.rejoining is None and now - self.proof > self.patience

    def is_alive(self, now: float) -> bool:
        """False when the loop does not turn, or when rebuilding the client does not help."""
        is_turning = now - self.turned < self.joining + 2 * self.patience
        return is_turning and now - self.healthy < self.joining + 3 * self.patience
