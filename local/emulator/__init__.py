"""The AWS emulator, and the deployment of the template to it."""
