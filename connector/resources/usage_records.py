"""Usage of each day, by category: a watch. Twilio: usage/api/usage-record; OpenAPI: ListUsageRecordDaily."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Optional, Price, Text, Timestamp
from connector.resources.rows import ACCOUNT, BOOLEANS, Bundle, Watch

Amount = Annotated[Text, Field(description="A decimal number as text.")]


class UsageRecordDaily(Bundle):
    """What was used of one category on one day, UTC; it grows while the day lasts."""

    start_date: Annotated[str, Field(description="The day: 2026-11-24.")]
    category: Annotated[str, Field(description="Such as sms-outbound or totalprice.")]
    account_sid: Optional = None
    api_version: Text = None
    as_of: Annotated[Timestamp, Field(description="Until when usage is counted in.")] = None
    count: Annotated[Amount, Field(description="How many, as decimal text, of count_unit.")] = None
    count_unit: Annotated[Text, Field(description="Such as calls or messages.")] = None
    description: Annotated[Text, Field(description="The category in plain words.")] = None
    end_date: Annotated[Text, Field(description="The same day.")] = None
    price: Annotated[Price, Field(description="A decimal number as text, of price_unit.")] = None
    price_unit: Text = None
    subresource_uris: dict[str, Any] | None = None
    uri: Text = None
    usage: Annotated[Amount, Field(description="What is charged, as decimal text, of usage_unit.")] = None
    usage_unit: Annotated[Text, Field(description="Such as minutes or messages.")] = None


# A row is dated by its day, and is there when its category is first used: until the day is over, and a day for what
# Twilio counts later.
WATCHES = (
    Watch(
        resource="usage-records-daily",
        noun="usage-record-daily",
        path=f"{ACCOUNT}/Usage/Records/Daily.json",
        items="usage_records",
        bundle=UsageRecordDaily,
        created="start_date",
        sorted_by=("start_date",),
        since="StartDate",
        before="EndDate",
        filters={"category": "Category", "include_subaccounts": "IncludeSubaccounts"},
        choices={"include_subaccounts": BOOLEANS},
        version=("count", "usage", "price"),
        operation="ListUsageRecordDaily",
        key=("start_date", "category"),
        lateness=timedelta(days=2),
        newest_first=False,
        is_standard=False,
    ),
)
