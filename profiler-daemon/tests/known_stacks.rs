//! The path every event takes, from its bytes to its counts, must not allocate once its stack is known.

#[path = "../benches/hot_paths/record.rs"]
mod record;

use profiler_common::record::{STACK_OFF_CPU, STACK_ON_CPU};
use profiler_daemon::aggregate::Aggregator;
use profiler_daemon::profile::Timestamp;
use profiler_daemon::wire::{Room, decode_stack};
use record::{PERIOD_NS, stack_records};

/// Adds all records; returns how many stacks were new.
fn add_all(aggregator: &mut Aggregator, records: &[Vec<u64>]) -> usize {
    let mut room = Room::default();
    let mut add = |words: &Vec<u64>| {
        let event = decode_stack(bytemuck::cast_slice(words), &mut room).expect("the record is well-formed");
        aggregator.add_stack(&event)
    };
    records.iter().filter(|words| add(words)).count()
}

#[test]
fn a_stack_seen_before_is_counted_without_an_allocation() {
    for kind in [STACK_ON_CPU, STACK_OFF_CPU] {
        let records = stack_records(kind, 100);
        let mut aggregator = Aggregator::new(Timestamp(0), 0, PERIOD_NS);
        let new = allocation_counter::measure(|| assert_eq!(add_all(&mut aggregator, &records), 100));
        assert!(new.count_total >= 100, "the counter counts: {new:?}");
        let known = allocation_counter::measure(|| assert_eq!(add_all(&mut aggregator, &records), 0));
        assert_eq!(known.count_total, 0, "kind {kind}: {known:?}");
    }
}
