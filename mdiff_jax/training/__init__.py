"""Training the three stages, and enrolling users."""
