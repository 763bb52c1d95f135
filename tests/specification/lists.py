"""What the lists that are watched by their names hold before the walk, and what each of their filters finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connector.simulator import Simulator

SERVICE = "VA" + "5" * 32
ELSEWHERE = {"to": "+15550107001", "country": "GB"}


@dataclass(frozen=True, slots=True)
class Listed:
    """The keys of a list's rows, oldest first; each filter with what Twilio gets, and the keys that it finds."""

    keys: Sequence[str]
    filters: Sequence[tuple[dict[str, Any], dict[str, str], Sequence[str]]] = ()


def furnish_lists(simulator: Simulator, *, message: str, media: Sequence[str], now: datetime) -> Mapping[str, Listed]:
    """Fill the lists with rows of now; numbers beside those that the account has."""

    def filled(name: str, *rows: dict[str, Any], parent: str = "") -> list[str]:
        common = {"parent": parent} if parent else {}
        sids = simulator.fill(name, rows=[{**row, **common} for row in rows], first=now.timestamp() - 60)
        return [f"{parent}:{sid}" for sid in sids] if parent else sids

    simulator.state.stores[simulator.account_sid].messages.rows[message].num_media = len(media)
    conferences = filled("conferences", {"name": "support"}, {}, {"status": "completed"})
    muted, held, coaching, quiet = filled(
        "participants",
        *({"extra": {name: True}} for name in ("muted", "hold", "coaching")),
        {},
        parent=conferences[0],
    )
    numbers = simulator.fill(
        "phone_numbers",
        rows=[{"number": "+15559910001", "friendly_name": "walk"}, {"beta": True}, {"origin": "hosted"}],
        number="+15559910009",
    )
    conversations = filled("conversations", {}, {"status": "closed"}, {"status": "inactive"})
    active, ended = filled("studio_executions", {}, {"status": "ended"}, parent=filled("studio_flows", {})[0])
    attempts = filled(
        "verification_attempts",
        {"extra": {"channel": "call"}},
        {"status": "converted"},
        {"parent": SERVICE},
        {"extra": {"channel_data": ELSEWHERE}},
    )
    filled("usage_records", {"name": "calls"}, {"name": "sms"})
    day = datetime.fromtimestamp(now.timestamp() - 60, now.tzinfo).date()
    usage = [f"{day}:calls", f"{day}:sms"]
    called, converted, served, abroad = attempts
    verification = "VE" + called[2:]
    return {
        "conferences": Listed(
            conferences,
            [
                ({"friendly_name": "support"}, {"FriendlyName": "support"}, conferences[:1]),
                ({"status": "completed"}, {"Status": "completed"}, conferences[2:]),
            ],
        ),
        "participants": Listed(
            [muted, held, coaching, quiet],
            [
                ({"muted": True}, {"Muted": "true"}, [muted]),
                ({"hold": True}, {"Hold": "true"}, [held]),
                ({"coaching": False}, {"Coaching": "false"}, [muted, held, quiet]),
            ],
        ),
        "message-media": Listed(media),
        "messaging-services": Listed(filled("messaging_services", {}, {})),
        "phone-numbers": Listed(
            numbers,
            [
                ({"phone_number": "+15559910001"}, {"PhoneNumber": "+15559910001"}, numbers[:1]),
                ({"friendly_name": "walk"}, {"FriendlyName": "walk"}, numbers[:1]),
                ({"beta": False}, {"Beta": "false"}, [numbers[0], numbers[2]]),
                ({"origin": "hosted"}, {"Origin": "hosted"}, numbers[2:]),
            ],
        ),
        "conversations": Listed(conversations, [({"state": "closed"}, {"State": "closed"}, conversations[1:2])]),
        "conversation-messages": Listed(filled("conversation_messages", {}, {}, parent=conversations[0])),
        "studio-executions": Listed([active, ended], [({"status": "ended"}, {"status": "ended"}, [ended])]),
        "usage-records-daily": Listed(
            usage,
            [
                ({"category": "sms"}, {"Category": "sms"}, usage[1:]),
                ({"include_subaccounts": False}, {"IncludeSubaccounts": "false"}, usage),
            ],
        ),
        "verification-attempts": Listed(
            attempts,
            [
                ({"to": ELSEWHERE["to"]}, {"ChannelData.To": ELSEWHERE["to"]}, [abroad]),
                ({"country": "GB"}, {"Country": "GB"}, [abroad]),
                ({"channel": "call"}, {"Channel": "call"}, [called]),
                ({"service_sid": SERVICE}, {"VerifyServiceSid": SERVICE}, [served]),
                ({"verification_sid": verification}, {"VerificationSid": verification}, [called]),
                ({"conversion_status": "converted"}, {"Status": "converted"}, [converted]),
            ],
        ),
    }
