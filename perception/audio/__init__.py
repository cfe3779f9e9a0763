"""What is said: voice activity, speech recognition, and both together on one stream of sound."""
