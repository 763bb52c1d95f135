"""What Twilio checks before it accepts a message, in order, each rule with its code.

Source: Twilio, messaging/api/message-resource, api/errors.
"""

import json
import math

from connector.simulator import magic
from connector.simulator.addresses import address, is_web_url, normalise, sender
from connector.simulator.errors import refusal
from connector.simulator.form import Form
from connector.simulator.routes import Request
from connector.simulator.times import DAY_SECONDS, parse

MAX_BODY = 1600
MAX_MEDIA = 10
MAX_VALIDITY = 36_000
SCHEDULE_SECONDS = (300, 35 * DAY_SECONDS)
BOOLEANS = ("ProvideFeedback", "ForceDelivery", "SmartEncoded", "ShortenUrls", "SendAsMms")
CHOICES = {
    "ContentRetention": ("retain", "discard"),
    "AddressRetention": ("retain", "obfuscate"),
    "TrafficType": ("free",),
    "ScheduleType": ("fixed",),
    "RiskCheck": ("enable", "disable"),
}


def check(request: Request) -> None:
    """Refuse what Twilio would refuse."""
    form = request.parameters
    _check_recipient(request, form)
    _check_sender(request, form)
    _check_content(form)
    _check_urls(form)
    _check_options(form)
    _check_schedule(request, form)


def _check_recipient(request: Request, form: Form) -> None:
    to = form.get("To")
    if not to:
        raise refusal(21604)
    if _is_magic(request) and (code := magic.MESSAGE_TO.get(normalise(to))):
        raise refusal(code)
    if not address(to):
        raise refusal(21211, message=f"The 'To' number {to} is not a valid phone number.")
    if request.account.trial and address(to) not in request.account.verified:
        raise refusal(21608)
    if (normalise(form.get("From")), normalise(to)) in request.store.opted_out:
        raise refusal(21610)


def _check_sender(request: Request, form: Form) -> None:
    given, service = form.get("From"), form.get("MessagingServiceSid")
    if not given and not service:
        raise refusal(21603)
    if given:
        _check_from(request, given)
    if service:
        _check_service(request, given, service)
    _check_fallback(form, given, service)


def _check_from(request: Request, given: str) -> None:
    if _is_magic(request) and (code := magic.MESSAGE_FROM.get(normalise(given))):
        raise refusal(code)
    if not sender(given):
        raise refusal(21212, message=f"The 'From' number {given} is not a valid phone number, shortcode, or sender ID.")
    if request.account.test and normalise(given) != magic.OK_NUMBER:
        raise refusal(magic.OTHER_MESSAGE_FROM)
    strict = request.state.settings.strict_senders and bool(normalise(given))
    if strict and normalise(given) not in request.store.owned_numbers():
        raise refusal(21606)


def _check_service(request: Request, given: str, sid: str) -> None:
    service = request.account.service(sid)
    if service is None:
        raise refusal(21701)
    if not service.senders:
        raise refusal(21703)
    if given and request.state.settings.strict_senders and sender(given) not in service.senders:
        raise refusal(21606)


def _check_fallback(form: Form, given: str, service: str) -> None:
    fallback = form.get("FallbackFrom")
    if fallback and given:
        raise refusal(21664)
    if fallback and not sender(fallback):
        raise refusal(21665)
    if fallback and not service:
        raise refusal(21666)


def _check_content(form: Form) -> None:
    media = form.all("MediaUrl")
    if not form.get("Body") and not media and not form.get("ContentSid"):
        raise refusal(21602)
    if len(form.get("Body")) > MAX_BODY:
        raise refusal(21617)
    if len(media) > MAX_MEDIA:
        raise refusal(21623)
    if not all(is_web_url(url) for url in media):
        raise refusal(21620)
    if (variables := form.get("ContentVariables")) and not (form.get("ContentSid") and _is_json_object(variables)):
        raise refusal(21656)


def _check_urls(form: Form) -> None:
    callback = form.get("StatusCallback")
    if callback and not is_web_url(callback):
        raise refusal(21609)


def _check_options(form: Form) -> None:
    for name in BOOLEANS:
        form.boolean(name)
    for name, options in CHOICES.items():
        form.choice(name, options)
    form.integer("Attempt", default=1, low=0, high=10**6)
    form.integer("ValidityPeriod", default=MAX_VALIDITY, low=1, high=MAX_VALIDITY, code=90007)
    if (price := form.get("MaxPrice")) and not _is_number(price):
        raise refusal(21627)


def _check_schedule(request: Request, form: Form) -> None:
    if not form.get("ScheduleType"):
        return
    if not form.get("MessagingServiceSid"):
        raise refusal(35118)
    if not form.get("SendAt"):
        raise refusal(35111)
    ahead = send_at(form) - request.state.now()
    if ahead <= SCHEDULE_SECONDS[0]:
        raise refusal(35114)
    if ahead > SCHEDULE_SECONDS[1]:
        raise refusal(35115)


def send_at(form: Form) -> int:
    """Return the scheduled second; refuses what is no date (35114)."""
    try:
        return parse(form.get("SendAt")).second
    except (ValueError, TypeError) as error:
        raise refusal(35114) from error


def _is_magic(request: Request) -> bool:
    return request.account.test or request.state.settings.magic_numbers


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
