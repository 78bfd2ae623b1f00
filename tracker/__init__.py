"""Tracking: ByteTrack, its Kalman filter and association."""
