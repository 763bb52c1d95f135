"""What a process says of itself at `/metrics`, and a load that moves all of its counters."""

from collections import Counter
from collections.abc import Iterator

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from connector.telemetry.exposition import OPENMETRICS
from connector.twilio.signature import compute
from tests.producing import Message
from tests.running import Connector

SENDER, RECIPIENT = "+15551234567", "+15557654321"
COMMANDS, CALLBACKS = 300, 200


class Scrape:
    """What /metrics says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # untyped
            for sample in family.samples
        ]
        self.names = {sample.name for sample in self._samples}

    def total(self, name: str, **labels: str) -> float:
        """The sum over all series with these labels."""
        wanted = labels.items()
        return sum(
            float(sample.value)
            for sample in self._samples
            if sample.name == f"twilio_kafka_{name}" and wanted <= sample.labels.items()
        )

    def by(self, name: str, label: str, **labels: str) -> Counter[str]:
        """The same for each value of a label, without zeros."""
        found: Counter[str] = Counter()
        for sample in self._samples:
            if sample.name == f"twilio_kafka_{name}" and labels.items() <= sample.labels.items() and sample.value:
                found[sample.labels[label]] += int(sample.value)
        return found

    def series(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of a name as Prometheus knows it."""
        return [(sample.labels, float(sample.value)) for sample in self._samples if sample.name == name]

    def labels_of(self, name: str) -> set[str]:
        return {label for sample in self._samples if sample.name == f"twilio_kafka_{name}" for label in sample.labels}


async def exposed(process: Connector, accept: str = OPENMETRICS) -> tuple[str, str]:
    """Content type and text of /metrics for this Accept header."""
    url, headers = f"{process.admin}/metrics", {"Accept": accept}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.headers["Content-Type"], await answer.text()


async def scrape(process: Connector) -> Scrape:
    return Scrape((await exposed(process))[1])


def work(prefix: str) -> Iterator[Message]:
    """Commands of every outcome: sent, refused by Twilio, rejected, expired, repeated, read, listed."""
    send, get = f"{prefix}.commands.send-message", f"{prefix}.commands.get"
    for number in range(COMMANDS):
        key = f"k{number % 40}"
        good = {"to": RECIPIENT, "from": SENDER, "body": f"number {number}"}
        match number % 10:
            case 7:
                yield Message(send, {**good, "to": "+15005550001"}, key)
            case 8:
                yield Message(send, b"no JSON", key)
            case 9:
                yield Message(send, good, key, {"expires-at": "2020-01-01T00:00:00Z"})
            case 5:
                yield Message(get, {"resource": "message", "sid": "SM" + "0" * 32}, key)
            case _:
                yield Message(send, good, key, {"id": f"id-{number - number % 10 + number % 2}"})


async def call_back(session: aiohttp.ClientSession, process: Connector, token: str, number: int) -> int:
    """A signed callback; every fifth is forged, every seventh is no form."""
    url = f"{process.callbacks}/callbacks/message-status"
    account = process.document["connections"]["default"]["account_sid"]
    form = {"MessageSid": f"SM{number:032x}", "MessageStatus": "sent", "AccountSid": account}
    signature = compute(url, form.items(), token if number % 5 else "another")
    headers = {"X-Twilio-Signature": signature}
    if number % 7 == 0:
        headers["Content-Type"] = "text/plain"
    async with session.post(url, data=form, headers=headers) as answer:
        return answer.status


async def knock(session: aiohttp.ClientSession, process: Connector) -> int:
    """A request that the admin port refuses: its Host is another's."""
    async with session.get(f"{process.admin}/", headers={"Host": "console.example.com"}) as answer:
        return answer.status
