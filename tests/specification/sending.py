"""Messages, calls and numbers: each parameter with which something is made."""

from connector.simulator.accounts import MESSAGING_SERVICE_SID
from tests.specification.example import Example
from tests.specification.furnished import OTHER, OURS, THEIRS, Furnished, new

ALL_STEPS = ["initiated", "ringing", "answered", "completed"]


def messages(rows: Furnished) -> list[Example]:
    media = ["https://pictures.example.com/1.png", "https://pictures.example.com/2.gif"]
    text = {"to": THEIRS, "from": OURS, "body": "Hello"}
    sent = {"To": THEIRS, "From": OURS, "Body": "Hello"}
    ours = {"StatusCallback": "message-status"}
    more = {"smart_encoded": True, "validity_period": 14400, "max_price": 0.05, "provide_feedback": True}
    wire = {"SmartEncoded": "true", "ValidityPeriod": "14400", "MaxPrice": "0.05", "ProvideFeedback": "true"}
    channel = {"to": f"whatsapp:{THEIRS}", "from": f"whatsapp:{OURS}", "body": "Hello"}
    service = {"to": THEIRS, "messaging_service_sid": MESSAGING_SERVICE_SID}
    return [
        Example(
            id="send-text",
            command="send-message",
            value={**text, **more},
            operation="CreateMessage",
            sends={**sent, **wire},
            ours=ours,
            expects={"to": THEIRS, "from": OURS, "body": "Hello", "status": "queued", "num_segments": 1},
        ),
        Example(
            id="send-media",
            command="send-message",
            value={**service, "media_url": media, "status_callback": f"{rows.hooks}/status"},
            operation="CreateMessage",
            sends={
                "To": THEIRS,
                "MessagingServiceSid": MESSAGING_SERVICE_SID,
                "MediaUrl": media,
                "StatusCallback": f"{rows.hooks}/status",
            },
            expects={"status": "accepted", "num_media": 2, "messaging_service_sid": MESSAGING_SERVICE_SID},
        ),
        Example(
            id="send-to-channel",
            command="send-message",
            value=channel,
            operation="CreateMessage",
            sends={"To": f"whatsapp:{THEIRS}", "From": f"whatsapp:{OURS}", "Body": "Hello"},
            ours=ours,
            expects={"to": f"whatsapp:{THEIRS}", "from": f"whatsapp:{OURS}"},
        ),
        Example(
            id="send-for-application",
            command="send-message",
            value={**text, "application_sid": rows.application},
            operation="CreateMessage",
            sends={**sent, "ApplicationSid": rows.application},
            expects={"to": THEIRS},
        ),
    ]


def calls(rows: Furnished) -> list[Example]:
    both = {"to": THEIRS, "from": OURS}
    sent = {"To": THEIRS, "From": OURS}
    hooks, byoc = rows.hooks, new("BY", 1)
    recorded = {"record": True, "machine_detection": "Enable", "async_amd": True}
    ours = {
        "StatusCallback": "call-status",
        "RecordingStatusCallback": "recording-status",
        "AsyncAmdStatusCallback": "amd-status",
    }
    events = {"StatusCallbackEvent": ALL_STEPS, "RecordingStatusCallbackEvent": "in-progress completed absent"}
    names = ("status_callback", "recording_status_callback", "async_amd_status_callback")
    methods = {f"{name}_method": "GET" for name in names}
    wire_methods = {f"{name}Method": "GET" for name in ours}
    recording = {"Record": "true", "MachineDetection": "Enable", "AsyncAmd": "true"}
    return [
        Example(
            id="call-by-url",
            command="place-call",
            value={
                **both,
                "url": f"{hooks}/twiml",
                "method": "GET",
                "fallback_url": f"{hooks}/fallback",
                "fallback_method": "GET",
                "status_callback": f"{hooks}/calls",
                "status_callback_method": "GET",
                "status_callback_event": ["initiated", "completed"],
                "timeout": 20,
                "caller_id": OTHER,
            },
            operation="CreateCall",
            sends={
                **sent,
                "Url": f"{hooks}/twiml",
                "Method": "GET",
                "FallbackUrl": f"{hooks}/fallback",
                "FallbackMethod": "GET",
                "StatusCallback": f"{hooks}/calls",
                "StatusCallbackMethod": "GET",
                "StatusCallbackEvent": ["initiated", "completed"],
                "Timeout": "20",
                "CallerId": OTHER,
            },
            expects={"to": THEIRS, "from": OURS, "status": "queued"},
        ),
        Example(
            id="call-by-twiml",
            command="place-call",
            value={
                **both,
                **recorded,
                "twiml": "<Response><Say>Hello</Say></Response>",
                "byoc": byoc,
                "send_digits": "wW12#*AD",
                "trim": "do-not-trim",
                "status_callback": None,
                "recording_channels": "dual",
                "recording_status_callback": f"{hooks}/recordings",
                "recording_status_callback_method": "GET",
                "recording_status_callback_event": ["in-progress", "completed"],
                "machine_detection_timeout": 20,
                "machine_detection_speech_threshold": 2000,
                "machine_detection_speech_end_threshold": 1000,
                "machine_detection_silence_timeout": 4000,
                "async_amd_status_callback": f"{hooks}/amd",
                "async_amd_status_callback_method": "GET",
            },
            operation="CreateCall",
            sends={
                **sent,
                **recording,
                "Twiml": "<Response><Say>Hello</Say></Response>",
                "Byoc": byoc,
                "SendDigits": "wW12#*AD",
                "Trim": "do-not-trim",
                "RecordingChannels": "dual",
                "RecordingStatusCallback": f"{hooks}/recordings",
                "RecordingStatusCallbackMethod": "GET",
                "RecordingStatusCallbackEvent": "in-progress completed",
                "MachineDetectionTimeout": "20",
                "MachineDetectionSpeechThreshold": "2000",
                "MachineDetectionSpeechEndThreshold": "1000",
                "MachineDetectionSilenceTimeout": "4000",
                "AsyncAmdStatusCallback": f"{hooks}/amd",
                "AsyncAmdStatusCallbackMethod": "GET",
            },
        ),
        Example(
            id="call-by-application",
            command="place-call",
            value={**both, "application_sid": rows.application},
            operation="CreateCall",
            sends={**sent, "ApplicationSid": rows.application},
        ),
        Example(
            id="call-by-sip",
            command="place-call",
            value={
                "to": "sip:alice@sip.example.com",
                "from": OURS,
                "twiml": "<Response/>",
                "sip_auth_username": "alice",
                "sip_auth_password": "secret",
            },
            operation="CreateCall",
            sends={
                "To": "sip:alice@sip.example.com",
                "From": OURS,
                "Twiml": "<Response/>",
                "SipAuthUsername": "alice",
                "SipAuthPassword": "secret",
                "StatusCallbackEvent": ALL_STEPS,
            },
            ours={"StatusCallback": "call-status"},
        ),
        Example(
            id="call-with-our-callbacks",
            command="place-call",
            value={**both, **recorded, "twiml": "<Response/>"},
            operation="CreateCall",
            sends={**sent, **recording, **events, "Twiml": "<Response/>"},
            ours=ours,
        ),
        Example(
            id="call-with-our-callbacks-by-get",
            command="place-call",
            value={**both, **recorded, **methods, "twiml": "<Response/>"},
            operation="CreateCall",
            sends={**sent, **recording, **events, **wire_methods, "Twiml": "<Response/>"},
            ours=ours,
        ),
    ]


def numbers(rows: Furnished) -> list[Example]:
    urls = {"sms_url": f"{rows.hooks}/sms", "voice_url": f"{rows.hooks}/voice"}
    wire = {"SmsUrl": f"{rows.hooks}/sms", "VoiceUrl": f"{rows.hooks}/voice"}
    return [
        Example(
            id="buy-number",
            command="buy-phone-number",
            value={"phone_number": "+15559911111", "friendly_name": "Shop", **urls},
            operation="CreateIncomingPhoneNumber",
            sends={"PhoneNumber": "+15559911111", "FriendlyName": "Shop", **wire},
            expects={"phone_number": "+15559911111", "friendly_name": "Shop", "voice_url": f"{rows.hooks}/voice"},
        ),
        Example(
            id="buy-in-area",
            command="buy-phone-number",
            value={"area_code": "415"},
            operation="CreateIncomingPhoneNumber",
            sends={"AreaCode": "415"},
            expects={"origin": "twilio"},
        ),
    ]
