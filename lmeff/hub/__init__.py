"""The way to the Hub: the client, who publishes, the outbox, and delivery from a folder to a branch."""
