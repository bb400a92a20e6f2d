"""Three floors that any service stands on."""
