"""Crashes, freezes and lost answers, with real processes; what was promised, and what happens without a safeguard."""
