"""What Twilio checks before it accepts a call, each rule with its code.

Source: Twilio, voice/api/call-resource, api/errors.
"""

import re

from connector.simulator import magic
from connector.simulator.addresses import CHANNEL, address, is_web_url, normalise
from connector.simulator.errors import refusal
from connector.simulator.form import Form
from connector.simulator.routes import Request

METHODS = ("GET", "POST")
EVENTS = frozenset({"initiated", "ringing", "answered", "completed"})
RECORDING_EVENTS = frozenset({"in-progress", "completed", "absent"})
SEND_DIGITS = re.compile(r"[0-9A-D#*wW]{1,32}")
MAX_TWIML = 4000
MAX_TIMEOUT = 600
DAY_SECONDS = 86_400
RANGES = {
    "MachineDetectionTimeout": (3, 59, 30),
    "MachineDetectionSpeechThreshold": (1000, 6000, 2400),
    "MachineDetectionSpeechEndThreshold": (500, 5000, 1200),
    "MachineDetectionSilenceTimeout": (2000, 10_000, 5000),
}
CHOICES = {
    "RecordingChannels": ("mono", "dual"),
    "RecordingTrack": ("inbound", "outbound", "both"),
    "Trim": ("trim-silence", "do-not-trim"),
    "MachineDetection": ("Enable", "enable", "DetectMessageEnd"),
    "AsyncAmd": ("true", "false"),
}
METHOD_NAMES = (
    "Method",
    "FallbackMethod",
    "StatusCallbackMethod",
    "RecordingStatusCallbackMethod",
    "AsyncAmdStatusCallbackMethod",
)
URL_NAMES = ("FallbackUrl", "StatusCallback", "RecordingStatusCallback", "AsyncAmdStatusCallback")


def check(request: Request) -> None:
    """Refuse what Twilio would refuse."""
    form = request.parameters
    _check_recipient(request, form)
    _check_caller(request, form)
    check_instructions(request, form)
    _check_options(form)


def _check_recipient(request: Request, form: Form) -> None:
    to = form.get("To")
    if not to:
        raise refusal(21201)
    if _is_magic(request) and (code := magic.CALL_TO.get(normalise(to))):
        raise refusal(code)
    if not address(to):
        raise refusal(21217, message=f"The phone number you are attempting to call, {to}, is not valid.")
    if request.account.trial and address(to) not in request.account.verified:
        raise refusal(21219)


def _check_caller(request: Request, form: Form) -> None:
    given, number = form.get("From"), normalise(form.get("From"))
    if not given:
        raise refusal(21213)
    if _is_magic(request) and (code := magic.CALL_FROM.get(number)):
        raise refusal(code)
    if not address(given) or (not number and CHANNEL.fullmatch(form.get("To")) is None):
        raise refusal(21212, message=f"The source phone number {given} is not valid.")
    if request.account.test and number != magic.OK_NUMBER:
        raise refusal(magic.OTHER_CALL_FROM)
    if request.state.settings.strict_senders and number and number not in request.store.callers():
        raise refusal(21210)


def check_instructions(request: Request, form: Form) -> None:
    """Refuse a call without instructions, or with unusable ones."""
    url, application = form.get("Url"), form.get("ApplicationSid")
    if application and application not in request.store.applications.rows:
        raise refusal(21218)
    if not url and not form.get("Twiml") and not application:
        raise refusal(21205, message="Url parameter is required.")
    if url and not is_web_url(url):
        raise refusal(21205, message=f"Url is not a valid URL: {url}")
    if not url and len(form.get("Twiml")) > MAX_TWIML:
        raise refusal(20001, message="Twiml must have at most 4000 characters")


def _check_options(form: Form) -> None:
    form.integer("Timeout", default=60, low=1, high=MAX_TIMEOUT, code=21208)
    form.integer("TimeLimit", default=14_400, low=1, high=DAY_SECONDS)
    form.boolean("Record")
    for name, (low, high, default) in RANGES.items():
        form.integer(name, default=default, low=low, high=high)
    for name, options in CHOICES.items():
        form.choice(name, options)
    for name in METHOD_NAMES:
        form.choice(name, METHODS)
    for name in URL_NAMES:
        if (url := form.get(name)) and not is_web_url(url):
            raise refusal(21609 if name == "StatusCallback" else 21205, message=f"{name} is not a valid URL: {url}")
    if (digits := form.get("SendDigits")) and not SEND_DIGITS.fullmatch(digits):
        raise refusal(20001, message="SendDigits may contain 0-9, A-D, #, *, w and W, at most 32")
    if not set(form.all("StatusCallbackEvent")) <= EVENTS:
        raise refusal(20001, message=f"StatusCallbackEvent must be among {', '.join(sorted(EVENTS))}")
    recording_events(form)


def recording_events(form: Form) -> frozenset[str]:
    """Read RecordingStatusCallbackEvent: one value with spaces; of repeated keys only the last counts.

    Source: Twilio, usage/twilios-response.
    """
    events = frozenset(form.get("RecordingStatusCallbackEvent").split())
    if not events <= RECORDING_EVENTS:
        raise refusal(20001, message="RecordingStatusCallbackEvent: space-separated in-progress, completed, absent")
    return events or frozenset({"completed"})


def _is_magic(request: Request) -> bool:
    return request.account.test or request.state.settings.magic_numbers
