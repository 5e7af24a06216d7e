"""The local stack: a Clopos simulator, an AWS emulator, and the story that runs on both."""
