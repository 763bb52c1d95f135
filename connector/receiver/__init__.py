"""The engine that takes Twilio's callbacks and answers when they are stored."""
