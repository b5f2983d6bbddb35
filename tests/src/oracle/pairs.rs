//! Which sample belongs to which stop.
//!
//! A sample stops its thread before the thread runs user code again, so it belongs to the thread's next stop; the clock
//! both write says which that is. Between two stops there may be more samples than one: a thread that is to stop may
//! yet be sampled again in the kernel. The last of them is the one that is compared; all others must be like it.
//!
//! One kind of sample is *belated*: the thread has stopped for a signal that is passed on, was resumed, and is sampled
//! in the kernel before its registers are those of the handler. It was taken where the thread stopped before, and is
//! compared with that.

use std::collections::BTreeMap;

use super::stop::Why;
use super::{Sample, Stop};

/// A sample and the stop it caused.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair<'a> {
    /// The last sample before the stop.
    pub sample: &'a Sample,
    /// The stop.
    pub stop: &'a Stop,
}

/// All samples, sorted out.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Pairs<'a> {
    /// Samples with their stops.
    pub pairs: Vec<Pair<'a>>,
    /// Earlier samples before the same stop that are like the last.
    pub repeated: usize,
    /// Earlier samples before the same stop that are not.
    pub unlike_the_last: usize,
    /// Samples without a stop: the thread ended or executed a program.
    pub without_stop: usize,
    /// Stops for a sample, by SIGSTOP, without one.
    pub without_sample: usize,
}

/// The number of the signal that samples send.
pub const SIGSTOP: u32 = 19;

/// Sorts out samples and stops of any number of threads, each in order per thread.
pub fn pair<'a>(samples: &'a [Sample], stops: &'a [Stop]) -> Pairs<'a> {
    let mut threads: BTreeMap<u32, (Vec<&Sample>, Vec<&Stop>)> = BTreeMap::new();
    for sample in samples {
        threads.entry(sample.tid).or_default().0.push(sample);
    }
    for stop in stops {
        threads.entry(stop.tid).or_default().1.push(stop);
    }
    let mut pairs = Pairs::default();
    for (samples, stops) in threads.into_values() {
        pair_thread(&samples, &stops, &mut pairs);
    }
    pairs
}

fn pair_thread<'a>(samples: &[&'a Sample], stops: &[&'a Stop], to: &mut Pairs<'a>) {
    let mut rest = samples;
    let mut former = None;
    for stop in stops {
        let before = rest.partition_point(|sample| sample.at_ns < stop.stopped_ns);
        let (own, later) = rest.split_at(before);
        rest = later;
        let belated = own.iter().take_while(|sample| is_belated(sample, former, stop)).count();
        let (belated, own) = own.split_at(belated);
        if let Some(former) = former {
            to.add(belated, former);
        }
        if own.is_empty() && belated.is_empty() {
            to.without_sample += usize::from(stop.why == Why::Signal(SIGSTOP));
        }
        to.add(own, stop);
        former = Some(stop);
    }
    to.without_stop += rest.len();
}

fn is_belated(sample: &Sample, former: Option<&Stop>, next: &Stop) -> bool {
    let is_passed_on = |stop: &Stop| matches!(stop.why, Why::Signal(number) if number != SIGSTOP);
    let Some(former) = former.filter(|stop| is_passed_on(stop)) else { return false };
    let leaf = sample.user.first();
    let at = |stop: &Stop| leaf == stop.frames.first().map(|frame| &frame.pc);
    at(former) && !at(next)
}

impl<'a> Pairs<'a> {
    /// Pairs the last of the samples that belong to a stop, and holds the others against it.
    fn add(&mut self, samples: &[&'a Sample], stop: &'a Stop) {
        let Some((last, earlier)) = samples.split_last() else { return };
        if stop.why == Why::Exec {
            self.without_stop += samples.len();
            return;
        }
        let alike = earlier.iter().filter(|sample| sample.user == last.user).count();
        self.repeated += alike;
        self.unlike_the_last += earlier.len() - alike;
        self.pairs.push(Pair { sample: last, stop });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{End, Frame};
    use super::*;

    fn sample(tid: u32, at_ns: u64, leaf: u64) -> Sample {
        Sample { tid, at_ns, user: vec![leaf], ..Sample::default() }
    }

    fn stop(tid: u32, stopped_ns: u64, why: Why) -> Stop {
        Stop { pid: 1, tid, stopped_ns, resumed_ns: stopped_ns + 5, why, end: End::Whole, frames: Vec::new() }
    }

    #[test]
    fn a_sample_belongs_to_the_next_stop_of_its_thread() {
        let samples = [sample(1, 10, 100), sample(2, 12, 200), sample(1, 40, 101)];
        let stops = [stop(1, 20, Why::Signal(SIGSTOP)), stop(1, 50, Why::Event), stop(2, 60, Why::Signal(SIGSTOP))];
        let pairs = pair(&samples, &stops);
        let found: Vec<_> = pairs.pairs.iter().map(|pair| (pair.sample.at_ns, pair.stop.stopped_ns)).collect();
        assert_eq!(found, [(10, 20), (40, 50), (12, 60)]);
    }

    #[test]
    fn the_last_of_several_samples_is_compared_and_the_others_are_held_against_it() {
        let samples = [sample(1, 10, 7), sample(1, 11, 8), sample(1, 12, 8)];
        let stops = [stop(1, 20, Why::Signal(SIGSTOP))];
        let pairs = pair(&samples, &stops);
        assert_eq!((pairs.pairs.len(), pairs.repeated, pairs.unlike_the_last), (1, 1, 1));
        assert_eq!(pairs.pairs[0].sample.at_ns, 12);
    }

    #[test]
    fn a_sample_on_the_way_into_a_handler_belongs_to_the_stop_before() {
        let at = |pc| vec![Frame { pc, interrupted: false, generated: false, guessed: false }];
        let alarm = Stop { frames: at(7), ..stop(1, 20, Why::Signal(14)) };
        let handler = Stop { frames: at(50), ..stop(1, 40, Why::Signal(SIGSTOP)) };
        let samples = [sample(1, 26, 7), sample(1, 27, 50)];
        let stops = [alarm, handler];
        let pairs = pair(&samples, &stops);
        let found: Vec<_> = pairs.pairs.iter().map(|pair| (pair.sample.at_ns, pair.stop.stopped_ns)).collect();
        assert_eq!(found, [(26, 20), (27, 40)]);
    }

    #[test]
    fn what_has_no_counterpart_is_counted() {
        let samples = [sample(1, 10, 7), sample(1, 40, 7)];
        let stops = [stop(1, 20, Why::Exec), stop(1, 30, Why::Signal(SIGSTOP)), stop(1, 35, Why::Event)];
        let pairs = pair(&samples, &stops);
        assert_eq!((pairs.pairs.len(), pairs.without_stop, pairs.without_sample), (0, 2, 1));
    }
}
