"""Twilio's refusals: codes with the HTTP status and the wording that the simulator answers with.

Source: Twilio, api/errors.
"""

from typing import Any

MORE_INFO = "https://www.twilio.com/docs/errors/"

CATALOG: dict[int, tuple[int, str]] = {
    20001: (400, "Invalid parameter value"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20005: (403, "Account not active"),
    20007: (400, "Page size must be between 1 and 1000"),
    20008: (403, "Resource not accessible with Test Account Credentials"),
    20009: (409, "Cannot delete this resource before it is complete"),
    20404: (404, "The requested resource was not found"),
    20409: (409, "Conflict"),
    20422: (400, "Invalid Parameter"),
    20429: (429, "Too Many Requests"),
    20500: (500, "Internal Server Error"),
    20503: (503, "Service unavailable"),
    21201: (400, "No 'To' number is specified"),
    21203: (400, "International calling not enabled"),
    21205: (400, "Url is not a valid URL"),
    21208: (400, "Invalid Timeout"),
    21210: (400, "The source phone number provided is not yet verified for your account"),
    21211: (400, "The 'To' number is not a valid phone number"),
    21212: (400, "The 'From' number is not a valid phone number, shortcode, or alphanumeric sender ID"),
    21213: (400, "No 'From' number is specified"),
    21214: (400, "The phone number you are attempting to call cannot be reached"),
    21215: (400, "Account not authorized to call the number; check its geographic permissions"),
    21216: (400, "Call blocked by Twilio blocklist"),
    21217: (400, "The phone number does not appear to be valid"),
    21218: (400, "Invalid ApplicationSid"),
    21219: (400, "The 'To' phone number is not verified"),
    21220: (400, "Invalid call state"),
    21405: (400, "Cannot set VoiceFallbackUrl without setting VoiceUrl"),
    21406: (400, "Cannot set SmsFallbackUrl without setting SmsUrl"),
    21408: (400, "Permission to send an SMS has not been enabled for the region indicated by the 'To' number"),
    21421: (400, "PhoneNumber is invalid"),
    21422: (400, "PhoneNumber is not available"),
    21452: (400, "No phone numbers found in area code"),
    21481: (400, "Invalid PageToken"),
    21602: (400, "Message body is required"),
    21603: (400, "A 'From' or 'MessagingServiceSid' parameter is required to send a message"),
    21604: (400, "A 'To' phone number is required"),
    21606: (400, "The 'From' phone number is not a valid, message-capable Twilio phone number for this destination"),
    21608: (400, "The 'To' phone number is unverified; trial accounts cannot send messages to unverified numbers"),
    21609: (400, "The 'StatusCallback' URL is not a valid URL"),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (429, "This 'From' number has exceeded the maximum number of queued messages"),
    21612: (400, "The 'To' phone number is not currently reachable via SMS"),
    21614: (400, "The 'To' number is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21620: (400, "Invalid media URL(s)"),
    21623: (400, "Number of media files exceeds allowed limit"),
    21627: (400, "Max Price must be a valid float"),
    21656: (400, "The ContentVariables Parameter is invalid"),
    21664: (400, "'FallbackFrom' cannot be used with a 'From' sender"),
    21665: (400, "Invalid 'FallbackFrom' sender"),
    21666: (400, "'FallbackFrom' requires MessagingServiceSid"),
    21701: (400, "The Messaging Service does not exist"),
    21703: (400, "The Messaging Service does not have a phone number available to send a message"),
    21705: (400, "The Messaging Service is invalid"),
    35111: (400, "SendAt timestamp is missing"),
    35114: (400, "SendAt must be more than 300 seconds ahead"),
    35115: (400, "SendAt must be at most 35 days ahead"),
    35118: (400, "MessagingServiceSid is required to schedule a message"),
    60200: (400, "Invalid parameter"),
    60202: (429, "Max check attempts reached"),
    60203: (429, "Max send attempts reached"),
    90007: (400, "ValidityPeriod is out of range"),
}


class Refusal(Exception):
    """Twilio's no: `code`, HTTP `status` and wording."""

    def __init__(self, *, code: int, status: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.message = message


def refusal(code: int, *, message: str = "", status: int = 0) -> Refusal:
    """Build the refusal of one code; wording and status come from the catalog unless given."""
    usual_status, usual_message = CATALOG.get(code, (400, "Error"))
    return Refusal(code=code, status=status or usual_status, message=message or usual_message)


def not_found(path: str) -> Refusal:
    """Build the 404 of a path."""
    return refusal(20404, message=f"The requested resource {path} was not found")


def body_of(refused: Refusal) -> dict[str, Any]:
    """Return the JSON error body of the 2010 API."""
    return {
        "code": refused.code,
        "message": refused.message,
        "more_info": f"{MORE_INFO}{refused.code}",
        "status": refused.status,
    }
