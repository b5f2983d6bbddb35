//! Breakdown and hotspots: pure functions of a profile.
