"""Access: client addresses, requests of this machine, web pages of other origins, callers and operators."""
