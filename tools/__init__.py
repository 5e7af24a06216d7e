"""What developers and operators run: the build of the artifact, the API's description, checks of a stack."""
