"""Messages that arrive: stored, and announced to the number's webhook, whose answer may be a reply.

Source: Twilio, messaging/guides/webhook-request.
"""

import html
import re
from collections.abc import Iterable

from connector.simulator import message_life
from connector.simulator.addresses import segments
from connector.simulator.callbacks import Delivery
from connector.simulator.rows import Media, Message
from connector.simulator.state import State

TWIML_MESSAGE = re.compile(r"<Message[^>]*>(.*?)</Message>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
PLACE = {"City": "SPRINGFIELD", "State": "CA", "Zip": "94937", "Country": "US"}
STOP_WORDS = frozenset({"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})


def receive(
    state: State,
    *,
    account_sid: str,
    from_: str,
    to: str,
    body: str = "",
    media: Iterable[tuple[str, bytes]] = (),
    url: str = "",
) -> Message:
    """Let a message arrive; `media` are content types and bytes, `url` overrides the number's webhook."""
    store, now, files = state.stores[account_sid], state.now(), list(media)
    sid = state.new_sid("MM" if files else "SM")
    row = Message(
        sid=sid,
        account_sid=account_sid,
        created=int(now),
        updated=int(now),
        visible_at=now + state.settings.visible_after + state.faults.hidden_for("InboundMessage"),
        tie=state.new_tie(sid),
        to=to,
        from_=from_,
        body=body,
        status="received",
        direction="inbound",
        sent=int(now),
        num_media=len(files),
        num_segments=segments(body),
    )
    store.messages.add(row)
    stored = [_store_media(state, row, *file) for file in files]
    _note_opt_out(state, row)
    state.agenda.after(state.settings.price_delay, lambda: message_life.charge(state, row))
    _announce(state, row, stored, url or store.inbound_url(to) or state.settings.inbound_url)
    return row


def _store_media(state: State, row: Message, content_type: str, content: bytes) -> Media:
    sid = state.new_sid("ME")
    media = Media(
        sid=sid,
        account_sid=row.account_sid,
        created=row.created,
        updated=row.created,
        tie=state.new_tie(sid),
        parent_sid=row.sid,
        content_type=content_type,
        content=content,
    )
    state.stores[row.account_sid].media.add(media)
    return media


def _note_opt_out(state: State, row: Message) -> None:
    pair, word = (row.to, row.from_ or ""), row.body.strip().upper()
    if word in STOP_WORDS:
        state.stores[row.account_sid].opted_out.add(pair)
    elif word in START_WORDS:
        state.stores[row.account_sid].opted_out.discard(pair)


def _announce(state: State, row: Message, media: list[Media], url: str) -> None:
    base = f"{state.base_url}/2010-04-01/Accounts/{row.account_sid}/Messages/{row.sid}/Media"
    form: dict[str, object] = {"ToCountry": "US", "ToState": "CA", "SmsMessageSid": row.sid, "NumMedia": len(media)}
    form |= {"ToCity": "", "SmsSid": row.sid, "SmsStatus": "received", "Body": row.body, "To": row.to, "ToZip": ""}
    form |= {f"From{name}": value for name, value in PLACE.items()}
    form |= {"NumSegments": row.num_segments, "MessageSid": row.sid, "AccountSid": row.account_sid}
    form |= {"From": row.from_, "ApiVersion": "2010-04-01"}
    for number, item in enumerate(media):
        form |= {f"MediaContentType{number}": item.content_type, f"MediaUrl{number}": f"{base}/{item.sid}"}
    state.deliveries.send(
        kind="inbound-message",
        url=url,
        account_sid=row.account_sid,
        sid=row.sid,
        parameters=form,
        on_answer=lambda delivery: _reply(state, row, delivery),
    )


def _reply(state: State, row: Message, delivery: Delivery) -> None:
    """Send what the webhook answered: `<Message>` elements, or a plain text body as it is."""
    text = delivery.answer.strip()
    if "<Response" in text:
        replies = [html.unescape(TAG.sub("", found)).strip() for found in TWIML_MESSAGE.findall(text)]
    else:
        replies = [text] if delivery.answer_type.startswith("text/plain") else []
    for body in filter(None, replies):
        _send_reply(state, row, body)


def _send_reply(state: State, row: Message, body: str) -> None:
    now, sid = int(state.now()), state.new_sid("SM")
    reply = Message(
        sid=sid,
        account_sid=row.account_sid,
        created=now,
        updated=now,
        tie=state.new_tie(sid),
        to=row.from_ or "",
        from_=row.to,
        body=body,
        status="queued",
        direction="outbound-reply",
        num_segments=segments(body),
    )
    state.stores[row.account_sid].messages.add(reply)
    message_life.begin(state, reply)
