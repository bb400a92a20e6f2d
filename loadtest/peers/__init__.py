"""What a decision is measured against: each a server of its own, in an environment of its own."""
