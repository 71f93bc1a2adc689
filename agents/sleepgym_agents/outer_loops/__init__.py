"""Training across streams: the dreamer's and SEAL's outer loops, and their commands."""
