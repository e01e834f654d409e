"""What the end-to-end tests stand on: the daemon and the servers it talks to, as processes that are
started on free loopback ports and stopped by their process id, and clients to drive them."""
