"""The platform end of the interface: HTTP service, store and device channel. Shares no code with agent/."""
