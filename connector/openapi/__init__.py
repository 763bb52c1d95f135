"""What Twilio's OpenAPI documents say of its operations, as compact data, and whether a request fits it.

`data/` is generated (`tests/contract/compact.py`); a document is read when a request to its host is first looked at.
"""
