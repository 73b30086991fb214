"""Who may do what: trust in repositories."""
