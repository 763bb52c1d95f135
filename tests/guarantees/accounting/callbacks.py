"""Callbacks: each stored event against the requests that were sent, and how they were answered. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.guarantees.accounting.account import Account


@dataclass(slots=True, kw_only=True)
class Callback:
    """What Twilio signs once and may send several times; `statuses` are the answers, 0 for none.

    A forged one has a signature that is not Twilio's.
    """

    form: Mapping[str, str]
    is_forged: bool = False
    statuses: list[int] = field(default_factory=list)

    @property
    def is_stored(self) -> bool:
        """Whether an answer says that it is stored."""
        return any(200 <= status < 300 for status in self.statuses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """An event in Kafka: its `ce_id`, what tells which callback it is, and the form's fields as they were stored."""

    id: str
    name: str
    form: Mapping[str, str]


def of_callbacks(sent: Mapping[str, Callback], stored: Sequence[Stored]) -> Account:
    """Every promise about callbacks; `sent` are the callbacks by name."""
    account = Account({"callbacks": len(sent), "answered with a 2xx": sum(one.is_stored for one in sent.values())})
    names, ids = defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)
    for event in stored:
        names[event.id].add(event.name)
        ids[event.name].add(event.id)
    account.counts |= {"stored": len(stored), "stored more than once": len(stored) - len(ids)}
    honest = {name for name, one in sent.items() if not one.is_forged}
    account.promise("lost after a 2xx", [name for name in honest if sent[name].is_stored and name not in ids])
    account.promise("invented", sorted(ids.keys() - sent.keys()))
    account.promise("forged, but stored", sorted(ids.keys() & (sent.keys() - honest)))
    account.promise("forged, but answered with a 2xx", [name for name in sent.keys() - honest if sent[name].is_stored])
    account.promise("one callback under two ids", [name for name, some in ids.items() if len(some) > 1])
    account.promise("one id for two callbacks", [name for name, some in names.items() if len(some) > 1])
    account.promise("stored otherwise than sent", [one.name for one in stored if _differs(one, sent.get(one.name))])
    return account


def _differs(stored: Stored, sent: Callback | None) -> bool:
    return sent is not None and any(stored.form.get(name) != text for name, text in sent.form.items())
