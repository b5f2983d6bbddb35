//! How many files the daemon may hold open.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit on open files as far as the system lets this process; returns the new limit, `None` for no limit.
/// To be called before anything that takes its share of the limit is made.
pub fn raise_limit() -> io::Result<Option<u64>> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_to_the_maximum() {
        let raised = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::Nofile).current, raised);
    }
}
