"""The sandbox: a faithful local stand-in for the service, on loopback, with tasks kept on disk."""
