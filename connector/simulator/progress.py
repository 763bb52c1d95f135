"""Moving a resource to a status by hand, with everything that its life cycle would do."""

from connector.simulator import call_life, message_life, recording_life, transcription_life
from connector.simulator.state import State


def move(state: State, account_sid: str, sid: str, status: str, *, error_code: int | None = None) -> None:
    """Set the status of a message, call, recording or transcription; raises KeyError when there is none."""
    store = state.stores[account_sid]
    match sid[:2]:
        case "SM" | "MM":
            message_life.change(state, store.messages.rows[sid], status, error_code=error_code)
        case "CA" if status == "initiated":
            call_life.dial(state, store.calls.rows[sid])
        case "CA":
            call_life.change(state, store.calls.rows[sid], status)
        case "RE":
            store.recordings.rows[sid].error_code = error_code
            recording_life.change(state, store.recordings.rows[sid], status)
        case "TR":
            transcription_life.change(state, store.transcriptions.rows[sid], status)
        case _:
            raise KeyError(f"nothing to move has a SID such as {sid}")
