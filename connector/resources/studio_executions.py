"""Executions of Studio's flows: a watch. Twilio: studio/rest-api/v2/execution; OpenAPI: ListExecution of studio_v2."""

from typing import Annotated, Any

from pydantic import Field

from connector.resources.fields import Optional, Text, Timestamp
from connector.resources.rows import Bundle, Under, Watch


class StudioExecution(Bundle):
    """One run of a flow, for one contact."""

    sid: str
    account_sid: Optional = None
    contact_channel_address: Annotated[Text, Field(description="The number, or other address, of the contact.")] = None
    contact_sid: Annotated[Optional, Field(description="Studio's own name of the contact.")] = None
    context: Annotated[Any, Field(description="What the flow has kept so far.")] = None
    date_created: Timestamp = None
    date_updated: Timestamp = None
    flow_sid: Annotated[Optional, Field(description="The flow.")] = None
    flow_version: Annotated[int | None, Field(description="Of the flow, when it began.")] = None
    initiated_by: Annotated[Optional, Field(description="The SID of the call or message that began it.")] = None
    links: Annotated[dict[str, Any] | None, Field(description="Addresses of what belongs to it.")] = None
    status: Annotated[Text, Field(description="active or ended.")] = None
    url: Text = None


# The parents alone: an account has few flows, and none of them is ever final. OpenAPI: ListFlow.
FLOWS = Watch(
    resource="studio-flows",
    noun="studio-flow",
    path="/v2/Flows",
    items="flows",
    bundle=Bundle,
    host="studio",
    operation="ListFlow",
    newest_first=False,
)
WATCHES = (
    Watch(
        resource="studio-executions",
        noun="studio-execution",
        path="/v2/Flows/{parent}/Executions",
        items="executions",
        bundle=StudioExecution,
        since="DateCreatedFrom",
        before="DateCreatedTo",
        seconds=True,
        filters={"status": "status"},
        choices={"status": ("active", "ended")},
        version=("status",),
        final=frozenset({"ended"}),
        fetch="/v2/Flows/{flow_sid}/Executions/{sid}",
        host="studio",
        operation="ListExecution",
        key=("flow_sid", "sid"),
        under=Under(FLOWS),
        newest_first=False,
        is_standard=False,
    ),
)
