//! One folder per language runtime.
