"""The rows of one account, and the questions that several resources ask of them."""

from typing import Any

from connector.simulator.accounts import Account
from connector.simulator.addresses import formatted
from connector.simulator.collection import Collection
from connector.simulator.done import Done
from connector.simulator.rows import (
    PLAIN,
    Alert,
    Application,
    Call,
    CallerId,
    CallEvent,
    Key,
    Media,
    Message,
    Notification,
    PhoneNumber,
    Plain,
    Recording,
    Transcription,
)
from connector.simulator.world import World


class Store:
    """All collections of an account."""

    def __init__(self, world: World, account: Account) -> None:
        self.account = account
        self.opened = int(world.now())
        self.messages = Collection(Message)
        self.media = Collection(Media)
        self.calls = Collection(Call)
        self.call_events = Collection(CallEvent)
        self.recordings = Collection(Recording)
        self.transcriptions = Collection(Transcription)
        self.alerts = Collection(Alert)
        self.notifications = Collection(Notification)
        self.phone_numbers = Collection(PhoneNumber)
        self.caller_ids = Collection(CallerId)
        self.applications = Collection(Application)
        self.keys = Collection(Key)
        self.plain = {name: Collection(Plain) for name in PLAIN}
        self.deleted_recordings: list[Recording] = []
        self.done = Done()
        self.opted_out: set[tuple[str, str]] = set()  # (our number, recipient): answered STOP
        self.next_call_at = 0.0
        self.next_segment_at: dict[str, float] = {}  # by sender
        self._furnish(world)

    def _furnish(self, world: World) -> None:
        for number in self.account.phone_numbers:
            self.phone_numbers.add(self.new_phone_number(world, number))
        for number in self.account.caller_ids:
            self._add_caller_id(world, number)
        for key in self.account.api_keys:
            self.new_key(world, key.sid, key.kind)

    def new_phone_number(self, world: World, number: str) -> PhoneNumber:
        """Build, but do not add, the row of a number."""
        now, sid = int(world.now()), world.new_sid("PN")
        return PhoneNumber(
            sid=sid,
            account_sid=self.account.sid,
            created=now,
            updated=now,
            tie=world.new_tie(sid),
            number=number,
            friendly_name=formatted(number),
        )

    def _add_caller_id(self, world: World, number: str) -> None:
        now, sid = int(world.now()), world.new_sid("PN")
        self.caller_ids.add(
            CallerId(
                sid=sid,
                account_sid=self.account.sid,
                created=now,
                updated=now,
                tie=world.new_tie(sid),
                number=number,
                friendly_name=formatted(number),
            )
        )

    def new_key(self, world: World, sid: str, friendly_name: str) -> Key:
        """Add the row of an API key."""
        now = int(world.now())
        key = Key(
            sid=sid,
            account_sid=self.account.sid,
            created=now,
            updated=now,
            tie=world.new_tie(sid),
            friendly_name=friendly_name,
        )
        self.keys.add(key)
        return key

    def collections(self) -> list[Collection[Any]]:
        """Return the rows of every resource."""
        return list(self._named().values())

    def rows_of(self, resource: str) -> Collection[Any]:
        """Return the rows of a resource. Raises KeyError."""
        return self._named()[resource]

    def _named(self) -> dict[str, Collection[Any]]:
        own = {name: value for name, value in vars(self).items() if isinstance(value, Collection)}
        return own | self.plain

    def counts(self) -> dict[str, int]:
        """Return how many rows each resource has."""
        return {name: len(value) for name, value in self._named().items()}

    def owned_numbers(self) -> frozenset[str]:
        """Return the phone numbers that may send."""
        return frozenset(row.number for row in self.phone_numbers.rows.values())

    def callers(self) -> frozenset[str]:
        """Return the numbers that may call: owned or verified."""
        return self.owned_numbers() | {row.number for row in self.caller_ids.rows.values()}

    def phone_number(self, number: str) -> PhoneNumber | None:
        """Return the row of an owned number."""
        return self.phone_numbers.first("number", number)

    def number_sid(self, number: str) -> str | None:
        """Return the SID of an owned number."""
        row = self.phone_number(number)
        return None if row is None else row.sid

    def inbound_url(self, number: str) -> str:
        """Return the webhook for messages to a number: the service's, the application's or the number's own."""
        service = next((s.inbound_url for s in self.account.services if number in s.senders and s.inbound_url), "")
        row = self.phone_number(number)
        if service or row is None:
            return service
        application = self.applications.rows.get(row.values.get("sms_application_sid") or "")
        values = row.values if application is None else application.values
        return str(values.get("sms_url") or "")

    def application_callback(self, sid: str) -> str:
        """Return an application's message status callback."""
        row = self.applications.rows.get(sid)
        values = {} if row is None else row.values
        return str(values.get("message_status_callback") or values.get("sms_status_callback") or "")
