"""The platform end of the interface: HTTP service, store, device channel. No code of agent/."""
