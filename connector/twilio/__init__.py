"""The only code that talks to Twilio: requests, paging, pacing, and the signature of its callbacks."""
