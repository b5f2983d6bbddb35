//! A captured stack that the window knows already: from the bytes in the ring to its counts.

use std::hint::black_box;

use criterion::Criterion;
use profiler_common::record::{STACK_OFF_CPU, STACK_ON_CPU};
use profiler_daemon::aggregate::Aggregator;
use profiler_daemon::profile::Timestamp;
use profiler_daemon::wire::{Room, decode_stack};

use crate::record::{PERIOD_NS, stack_records};

/// Times both kinds of stacks.
pub(crate) fn bench(criterion: &mut Criterion) {
    for (name, kind) in [("event/on_cpu_hit", STACK_ON_CPU), ("event/off_cpu_hit", STACK_OFF_CPU)] {
        let records = stack_records(kind, 512);
        let mut aggregator = Aggregator::new(Timestamp(0), 0, PERIOD_NS);
        records.iter().for_each(|words| _ = add(&mut aggregator, words));
        let mut turn = records.iter().cycle();
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| add(&mut aggregator, black_box(turn.next().expect("a cycle has no end"))));
        });
    }
}

fn add(aggregator: &mut Aggregator, words: &[u64]) -> bool {
    let mut room = Room::default();
    let event = decode_stack(bytemuck::cast_slice(words), &mut room).expect("the record is well-formed");
    aggregator.add_stack(&event)
}
