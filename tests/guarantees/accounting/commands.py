"""Commands: each result against what the simulator executed, and against the record that asked for it. Pure."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import jsonschema_rs

from connector.twilio.clock import NEAR_SECONDS
from tests.guarantees.accounting.account import Account, falling, repeated

SCHEMAS = Path(__file__).parents[3] / "schemas" / "results"
# What a valid create may come to.
CREATED = frozenset({"succeeded", "unknown"})
NOT_EXECUTED = frozenset({"failed", "rejected", "expired"})
# An id is used up by these: a command with one of the others was certainly never executed.
USES_ID = frozenset({"succeeded", "failed", "unknown"})
# How long an attempt may take to begin once it is written down, and a request that began in time to arrive.
LEASE_SECONDS = 2.0
# How long the connector may believe a former time of Twilio's after a jump: until two thirds of the answers of the last
# 90 s have named the new one.
BELIEVED_SECONDS = 65.0
# How far what it believes may be from Twilio's clock: dates are whole seconds, and answers take their time.
ROUGH_SECONDS = NEAR_SECONDS
# A key longer than this is left out of a result.
LONGEST_KEY = 64 * 1024

Position = tuple[str, int, int]
"""Topic, partition and offset of a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A command record that Kafka has acknowledged. `id` is the one that its result must name.

    `outcomes` are those that it may have as the first of its id. `rows` are the SIDs that a list must show, `producer`
    tells apart who wrote it. One that is not `is_named` has an odd id, which is not compared; one that is not
    `is_whole` is too large for a dead letter. `may_be_passed_over`: so much of Kafka was lost meanwhile that it may
    stay unanswered. `label` is what people call it.
    """

    position: Position
    id: str
    key: bytes | None
    value: bytes | None = b""
    producer: str = ""
    outcomes: frozenset[str] = CREATED
    creates: bool = True
    rows: frozenset[str] | None = None
    has_reply: bool = False
    expires_at: float | None = None
    is_named: bool = True
    is_whole: bool = True
    may_be_passed_over: bool = False
    label: str = ""

    @property
    def name(self) -> tuple[str, str]:
        """What makes it a repeat of another command: its topic and id."""
        return self.position[0], self.id

    @property
    def lane(self) -> tuple[str, bytes, str] | None:
        """What has an order: what one producer writes under a key of a topic."""
        return None if self.key is None else (self.position[0], self.key, self.producer)

    def __str__(self) -> str:
        return f"{self.label or self.id[:80]} at {'/'.join(map(str, self.position))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What the simulator did for a command, at `at` by this machine's clock. Lists hid it for `hidden` seconds."""

    id: str
    sid: str
    at: float = 0.0
    hidden: float = 0.0


@dataclass(frozen=True)
class Answer:
    """A record of a result topic or of a reply topic."""

    partition: int
    key: bytes | None
    value: bytes

    @cached_property
    def document(self) -> Any:
        """The result."""
        return json.loads(self.value)

    @cached_property
    def position(self) -> Position:
        """Which record it answers."""
        command = self.document["command"]
        return command["topic"], command["partition"], command["offset"]

    @property
    def sids(self) -> list[str]:
        """The SIDs of its bundles."""
        return [bundle["sid"] for bundle in self.document["bundles"] if isinstance(bundle, dict) and "sid" in bundle]


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter of a command: the position that its headers name, and what it holds."""

    position: Position
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """All that is known of a run. Results and replies stand in the order of their partitions, executions in their own.

    `unsettled` are the ids of which the simulator refused a request without saying so for certain (a connection that it
    closed, a 503), `attempts` the times at which the journal says that a record or an id was attempted.
    `interruptions` are the times, from and to, in which a process or the broker was not there; `steps` those at which
    the two clocks jumped against each other, each with how far Twilio's is ahead from then on, and at first by `ahead`.
    `settle_seconds` is how late a list may show what was made; `is_odd`: half of Twilio's answers cannot be read.
    """

    sent: Sequence[Sent]
    executed: Sequence[Execution]
    results: Sequence[Answer]
    replies: Sequence[Answer] = ()
    letters: Sequence[Letter] = ()
    unsettled: Collection[str] = ()
    attempts: Mapping[str | Position, Sequence[float]] = field(default_factory=dict)
    interruptions: Sequence[tuple[float, float]] = ()
    steps: Sequence[tuple[float, float]] = ()
    ahead: float = 0.0
    is_odd: bool = False
    settle_seconds: float = 2.0
    request_seconds: float = 3.0


def of_commands(trace: Trace) -> Account:
    """Every promise about commands."""
    account = Account()
    story = _Story(trace)
    _count(account, story)
    _answers(account, story)
    _outcomes(account, story)
    _executions(account, story)
    _repeats(account, story)
    _order(account, story)
    _copies(account, story)
    return account


class _Story:
    """The trace, by record and by id."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.sent = {one.position: one for one in trace.sent}
        self.by_id = defaultdict[tuple[str, str], list[Sent]](list)
        for one in sorted(trace.sent, key=lambda one: one.position):
            self.by_id[one.name].append(one)
        self.answers = defaultdict[Position, list[Answer]](list)
        for answer in trace.results:
            self.answers[answer.position].append(answer)
        self.executed = defaultdict[str, list[Execution]](list)
        for execution in trace.executed:
            self.executed[execution.id].append(execution)

    def final(self, one: Sent) -> Answer | None:
        """The last record of its result."""
        return next((answer for answer in self.answers.get(one.position, ()) if answer.document["last"]), None)

    def outcome(self, one: Sent) -> str:
        """What it came to, empty without a result."""
        answer = self.final(one)
        return str(answer.document["outcome"]) if answer is not None else ""

    def having(self, *outcomes: str) -> list[Sent]:
        """The records that came to this."""
        return [one for one in self.sent.values() if self.outcome(one) in outcomes]

    def pages(self, one: Sent) -> list[Answer]:
        """The pages of its result: the later one of a number counts, since a list may begin anew."""
        by_number = {answer.document["page"]: answer for answer in self.answers[one.position]}
        final = self.final(one)
        count = final.document["page"] + 1 if final is not None else 0
        return [by_number[number] for number in range(count) if number in by_number]


def _count(account: Account, story: _Story) -> None:
    outcomes = Counter(story.outcome(one) or "none" for one in story.sent.values())
    account.counts |= {"commands": len(story.by_id), "records": len(story.sent)}
    account.counts |= {f"outcome {name}": count for name, count in sorted(outcomes.items())}
    finals = [answer.document for answer in story.trace.results if answer.document["last"]]
    account.counts["reconciled"] = sum(document["reconciled"] for document in finals)


def _answers(account: Account, story: _Story) -> None:
    """Exactly one final result for each record, complete and of its schema."""
    finals = {place: sum(a.document["last"] for a in answers) for place, answers in story.answers.items()}
    sent = story.sent.values()
    account.promise(
        "without a result", [one for one in sent if not finals.get(one.position) and not one.may_be_passed_over]
    )
    account.promise("final results doubled", [one for one in sent if finals.get(one.position, 0) > 1])
    account.promise("results of records that were not sent", sorted(story.answers.keys() - story.sent.keys()))
    named = [(story.sent[place], a) for place, answers in story.answers.items() for a in answers if place in story.sent]
    account.promise(
        "results under another id",
        [one for one, answer in named if one.is_named and answer.document["command"]["id"] != one.id],
    )
    account.promise("results under another key", [one for one, answer in named if answer.key != _kept_key(one)])
    account.promise("results that do not satisfy their schema", [one for one, answer in named if not _fits(answer)])
    account.promise("pages missing", [one for one in sent if _lacks_pages(story, one)])
    listed = [one for one in story.having("succeeded") if one.rows is not None]
    account.promise(
        "lists with rows missing, twice or too many", [said for one in listed if (said := _difference(story, one))]
    )


def _kept_key(one: Sent) -> bytes | None:
    return one.key if len(one.key or b"") <= LONGEST_KEY else None


def _lacks_pages(story: _Story, one: Sent) -> bool:
    final = story.final(one)
    return final is not None and len(story.pages(one)) != final.document["page"] + 1


def _difference(story: _Story, one: Sent) -> str:
    """What is wrong with a list's rows, empty when nothing is."""
    shown, wanted = Counter(sid for page in story.pages(one) for sid in page.sids), Counter(one.rows or ())
    missing, more = (wanted - shown).total(), (shown - wanted).total()
    return f"{one}: {missing} missing, {more} too many" if missing or more else ""


def _fits(answer: Answer) -> bool:
    return _validator(answer.document["command"]["name"]).is_valid(answer.document)


@lru_cache
def _validator(command: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(json.loads((SCHEMAS / f"{command}.json").read_text()))


def _outcomes(account: Account, story: _Story) -> None:
    """Each outcome against what was executed, and against what the record may come to at all."""
    account.promise(
        "outcomes that nothing explains",
        [
            f"{one}: {outcome}"
            for one in story.sent.values()
            if (outcome := story.outcome(one)) not in {*one.outcomes, "duplicate", "expired", ""}
            and not _is_unreadable(story, one)
        ],
    )
    succeeded = [(one, story.final(one)) for one in story.having("succeeded") if one.rows is None]
    account.promise(
        "said to be executed, but was not",
        [one for one, _ in succeeded if "succeeded" in one.outcomes and not story.executed.get(one.id)],
    )
    account.promise(
        "said to have made another SID",
        [one for one, answer in succeeded if one.creates and _names_another(story, one, answer)],
    )
    account.promise(
        "executed, but said to be failed, rejected or expired",
        [one for one in story.having(*NOT_EXECUTED) if one.creates and _is_executed_for(story, one)],
    )
    unknown = [one for one in story.having("unknown") if one.creates]
    account.counts["executed, said to be unknown"] = sum(bool(story.executed.get(one.id)) for one in unknown)
    account.promise(
        "executed and shown, but said to be unknown",
        [one for one in unknown if story.executed.get(one.id) and not _is_hidden(story.trace, story.executed[one.id])],
    )
    account.promise(
        "unknown without a reason",
        [one for one in unknown if not story.executed.get(one.id) and not _may_be_lost(story.trace, one)],
    )
    account.promise("expired without a reason", [one for one in story.having("expired") if _is_early(story, one)])
    account.promise("executed after it had expired", [one for one in story.sent.values() if _is_late(story, one)])


def _is_unreadable(story: _Story, one: Sent) -> bool:
    """Whether all tries of a list have met an odd answer of Twilio's."""
    answer = story.final(one)
    error = (answer.document["error"] if answer is not None else None) or {}
    return story.trace.is_odd and not one.creates and 200 <= (error.get("http_status") or 0) < 300


def _names_another(story: _Story, one: Sent, answer: Answer | None) -> bool:
    made = {execution.sid for execution in story.executed.get(one.id, ())}
    return answer is not None and bool(made) and (len(answer.sids) != 1 or not made.issuperset(answer.sids))


def _is_executed_for(story: _Story, one: Sent) -> bool:
    """Whether it was executed, and not for another record of its id."""
    others = {story.outcome(other) for other in story.by_id[one.name] if other is not one}
    return bool(story.executed.get(one.id)) and not others & {"succeeded", "unknown"}


def _is_hidden(trace: Trace, executions: Sequence[Execution]) -> bool:
    """Whether no look at the list could have told: it showed the row too late, or by a time not believed yet."""
    doubt = LEASE_SECONDS + trace.request_seconds + trace.settle_seconds
    return all(
        execution.hidden > trace.settle_seconds
        or any(-doubt <= execution.at - step <= BELIEVED_SECONDS for step, _ in trace.steps)
        for execution in executions
    )


def _may_be_lost(trace: Trace, one: Sent) -> bool:
    """Whether its request may have been lost: the simulator says so, or somebody died while the attempt was open.

    An attempt is open until its request has begun, and that until it is answered: what was refused is withdrawn then.
    """
    open_for = LEASE_SECONDS + trace.request_seconds
    attempts = trace.attempts.get(one.position, ()) or trace.attempts.get(one.id, ())
    return (
        one.may_be_passed_over
        or one.id in trace.unsettled
        or any(begin - open_for <= at <= end for at in attempts for begin, end in trace.interruptions)
    )


def _believed(trace: Trace, at: float) -> list[float]:
    """How far ahead of ours the connector may have believed Twilio's clock at that moment, by which commands expire."""
    before = [(float("-inf"), trace.ahead), *trace.steps]
    until = [*(step for step, _ in trace.steps), float("inf")]
    return [
        ahead for (begin, ahead), end in zip(before, until, strict=True) if begin <= at and at - BELIEVED_SECONDS <= end
    ]


def _is_early(story: _Story, one: Sent) -> bool:
    answer = story.final(one)
    said = datetime.fromisoformat(answer.document["finished_at"]).timestamp() if answer is not None else 0.0
    return one.expires_at is None or said + max(_believed(story.trace, said)) + ROUGH_SECONDS < one.expires_at


def _is_late(story: _Story, one: Sent) -> bool:
    """An attempt that began in time has its lease and its request's time."""
    grace = LEASE_SECONDS + story.trace.request_seconds + ROUGH_SECONDS
    latest = max((other.expires_at or float("inf") for other in story.by_id[one.name]), default=float("inf"))
    return one.creates and any(
        execution.at + min(_believed(story.trace, execution.at)) > latest + grace
        for execution in story.executed.get(one.id, ())
    )


def _executions(account: Account, story: _Story) -> None:
    """A create is executed once at the most, whatever record asked for it, and never unasked."""
    creates = {one.id for one in story.sent.values() if one.creates}
    made = [execution for execution in story.trace.executed if execution.id in creates]
    account.promise("executed twice", repeated(execution.id for execution in made))
    account.promise(
        "executed, but never asked for", sorted(story.executed.keys() - {one.id for one in story.sent.values()})
    )
    owners = defaultdict[str, set[tuple[str, str]]](set)
    for one in story.having("succeeded"):
        answer = story.final(one)
        for sid in answer.sids if answer is not None and one.creates else ():
            owners[sid].add(one.name)
    account.promise("one SID in the results of two ids", [sid for sid, names in owners.items() if len(names) > 1])


def _repeats(account: Account, story: _Story) -> None:
    """Of the records of an id one is the first; the others are answered with what it came to."""
    answered_as_new, without_first, with_another = [], [], []
    for (_, name), records in story.by_id.items():
        outcomes = [story.outcome(one) for one in records]
        firsts = [one for one, outcome in zip(records, outcomes, strict=True) if outcome in USES_ID]
        if len(firsts) > 1 and records[0].creates:
            answered_as_new.append(name)
        if "duplicate" in outcomes and not firsts and all(outcomes):
            without_first.append(name)
        for one, outcome in zip(records, outcomes, strict=True):
            answer, first = story.final(one), story.final(firsts[0]) if firsts else None
            if outcome == "duplicate" and answer and first and answer.sids != first.sids:
                with_another.append(name)
    account.promise("repeats answered as new", answered_as_new)
    account.promise("duplicates of nothing", without_first)
    account.promise("duplicates with another SID than the first", with_another)


def _order(account: Account, story: _Story) -> None:
    """What one producer writes under a key is executed in its order, and answered in it."""
    lanes = defaultdict[tuple[str, bytes, str], list[Sent]](list)
    for one in sorted(story.sent.values(), key=lambda one: one.position):
        if one.lane is not None:
            lanes[one.lane].append(one)
    executed = {execution.id: number for number, execution in reversed(list(enumerate(story.trace.executed)))}
    answered = {answer.position: number for number, answer in enumerate(story.trace.results) if answer.document["last"]}
    placed = {answer.position: answer.partition for answer in story.trace.results}
    executions, results, scattered = list[str](), list[str](), list[str]()
    for lane, records in lanes.items():
        # An id that several producers send may be executed for any of them.
        own = [one for one in _firsts(story, records) if len({other.producer for other in story.by_id[one.name]}) == 1]
        executions += falling((str(one), executed[one.id]) for one in own if one.id in executed and one.creates)
        results += falling((str(one), answered[one.position]) for one in records if one.position in answered)
        if len({placed[one.position] for one in records if one.position in placed}) > 1:
            scattered.append(str(lane))
    account.promise("executed out of order within a key", executions)
    account.promise("answered out of order within a key", results)
    account.promise("answered in several partitions within a key", scattered)


def _firsts(story: _Story, records: Sequence[Sent]) -> list[Sent]:
    """The record of each id that used it up: one that was rejected or has expired leaves it to a later one."""
    firsts: dict[tuple[str, str], Sent] = {}
    for one in records:
        if story.outcome(one) in USES_ID:
            firsts.setdefault(one.name, one)
    return list(firsts.values())


def _copies(account: Account, story: _Story) -> None:
    """A reply is the result once more, a dead letter the rejected record once more; each is there once."""
    replies = defaultdict[Position, list[Answer]](list)
    for reply in story.trace.replies:
        replies[reply.position].append(reply)
    asked = {one.position for one in story.sent.values() if one.has_reply}
    account.promise("replies that nobody asked for", sorted(replies.keys() - asked))
    account.promise(
        "replies missing, doubled or unlike their result",
        [place for place in sorted(asked) if _copied(replies.get(place, ())) != _copied(story.answers.get(place, ()))],
    )
    letters = Counter(letter.position for letter in story.trace.letters)
    rejected = {one.position for one in story.having("rejected")}
    account.promise("rejected without a dead letter", sorted(rejected - letters.keys()))
    account.promise("dead letters doubled", [place for place, count in letters.items() if count > 1])
    account.promise("dead letters of what was not rejected", sorted(letters.keys() - rejected))
    account.promise(
        "dead letters with other bytes",
        [story.sent[letter.position] for letter in story.trace.letters if _altered(letter, story)],
    )


def _copied(answers: Sequence[Answer]) -> list[tuple[bytes | None, bytes]]:
    return [(answer.key, answer.value) for answer in answers]


def _altered(letter: Letter, story: _Story) -> bool:
    one = story.sent.get(letter.position)
    if one is None or not one.is_whole:
        return False
    # Kafka's clients write no record that has neither key nor value.
    value = b"" if (one.key, one.value) == (None, None) else one.value
    return (letter.key, letter.value) not in {(one.key, one.value), (one.key, value)}
