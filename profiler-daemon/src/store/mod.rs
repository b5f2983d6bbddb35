//! Windows over time.
