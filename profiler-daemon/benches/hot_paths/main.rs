//! What the daemon does most often, timed: per event, per context switch, per lookup, per request
//! and per executable.

mod event;
mod perf_map;
mod record;
mod report;
mod steps;
mod unwind;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    let times = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let mut criterion = times.configure_from_args();
    steps::bench(&mut criterion);
    event::bench(&mut criterion);
    perf_map::bench(&mut criterion);
    report::bench(&mut criterion);
    unwind::bench(&mut criterion);
    criterion.final_summary();
}
