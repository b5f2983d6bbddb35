//! Raw stacks into a profile.
