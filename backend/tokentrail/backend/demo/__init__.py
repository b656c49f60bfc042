"""What `tokentrail demo` runs: an example application and a local provider that answers it without any key."""
