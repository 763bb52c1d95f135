"""What a user would write in an afternoon: plain aiohttp and aiokafka on uvloop, without safeguards."""
