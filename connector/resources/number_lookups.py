"""What is known of a phone number. Twilio: lookup/v2-api."""

from typing import Annotated, Literal

from pydantic import Field

from connector.resources.commands import Operation
from connector.resources.fields import Shape, sid
from connector.resources.rows import Parameters, Wire

Package = Literal[
    "validation",
    "caller_name",
    "sim_swap",
    "call_forwarding",
    "line_status",
    "line_type_intelligence",
    "identity_match",
    "reassigned_number",
    "sms_pumping_risk",
    "phone_number_quality_score",
    "pre_fill",
]


class LookUpNumber(Parameters):
    """Parameters of `look-up-number`. Each package is charged, each time."""

    phone_number: Annotated[
        str,
        Shape(r"^\+?[0-9]{3,15}$", "a number such as +15551234567, or its national digits with country_code"),
        Field(description="E.164, or national digits with country_code."),
    ]
    fields: Annotated[
        list[Package] | None,
        Wire(join=","),
        Field(min_length=1, description="Packages; without: validity, free."),
    ] = None
    country_code: Annotated[
        str | None, Field(pattern="^[A-Z]{2}$", description="Of a national number, such as US.")
    ] = None
    first_name: Annotated[str | None, Field(description="For identity_match.")] = None
    last_name: Annotated[str | None, Field(description="For identity_match.")] = None
    address_line1: Annotated[str | None, Field(description="For identity_match.")] = None
    address_line2: Annotated[str | None, Field(description="For identity_match.")] = None
    city: Annotated[str | None, Field(description="For identity_match.")] = None
    state: Annotated[str | None, Field(description="For identity_match.")] = None
    postal_code: Annotated[str | None, Field(description="For identity_match.")] = None
    address_country_code: Annotated[
        str | None, Field(pattern="^[A-Z]{2}$", description="For identity_match, such as US.")
    ] = None
    national_id: Annotated[str | None, Field(description="For identity_match.")] = None
    date_of_birth: Annotated[
        str | None, Field(pattern="^[0-9]{8}$", description="For identity_match, such as 19800131.")
    ] = None
    last_verified_date: Annotated[
        str | None, Field(pattern="^[0-9]{8}$", description="For reassigned_number, such as 20260131.")
    ] = None
    verification_sid: Annotated[Annotated[str, sid("VE")] | None, Field(description="For pre_fill, VE….")] = None
    partner_sub_id: Annotated[str | None, Field(description="For phone_number_quality_score.")] = None


# What Twilio answers has no SID.
LOOK_UP = Operation(
    name="FetchPhoneNumber",
    parameters=LookUpNumber,
    method="GET",
    path="/v2/PhoneNumbers/{phone_number}",
    answer="raw",
    host="lookups",
    repeatable=True,
)

OPERATIONS = {"look-up-number": {None: LOOK_UP}}
