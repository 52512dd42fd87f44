"""Logs as columns: candump bytes to typed arrays, many frames at a time. Extra [replay] (numpy)."""
