"""What the operations share: the table of launches, and the gate that compiles every one of them ahead of time."""
