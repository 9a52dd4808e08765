"""What everything shares: errors, ids, time, randomness, codecs, settings, wire structs. Imports nothing of ours."""
