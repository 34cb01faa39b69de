"""Payment providers: one port, and a folder for each that stands behind it."""
