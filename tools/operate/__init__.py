"""What operates a deployed stack: the doctor, and the dead letters."""
