//! How many stacks are complete: from folded stacks, and from the output of `perf script`.

/// Stacks by their ends, weighted as the profiler weights them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Stacks {
    /// All stacks with frames of the program.
    pub(super) all: f64,
    /// Those that reach an outermost function of the program.
    pub(super) complete: f64,
}

impl Stacks {
    /// The part that is complete; `None` without stacks.
    pub(super) fn part(&self) -> Option<f64> {
        (self.all > 0.0).then(|| self.complete / self.all)
    }

    fn add(&mut self, weight: f64, is_complete: bool) {
        self.all += weight;
        self.complete += if is_complete { weight } else { 0.0 };
    }
}

/// Of lines `FRAME;FRAME;... WEIGHT`.
pub(super) fn of_folded(text: &str, roots: &[&str]) -> Stacks {
    let mut stacks = Stacks::default();
    for (frames, weight) in text.lines().filter_map(|line| line.rsplit_once(' ')) {
        let Ok(weight) = weight.parse() else { continue };
        stacks.add(weight, frames.split(';').any(|frame| is_root(frame, roots)));
    }
    stacks
}

/// Of a line per sample and an indented line `ADDRESS FUNCTION` per frame. A sample without frames is a stack, too.
pub(super) fn of_perf_script(text: &str, roots: &[&str]) -> Stacks {
    let mut stacks = Stacks::default();
    for sample in text.split("\n\n").filter(|sample| !sample.trim().is_empty()) {
        let mut frames = sample.lines().filter_map(|line| line.trim().split_once(' '));
        stacks.add(1.0, frames.any(|(_, function)| is_root(function, roots)));
    }
    stacks
}

/// Whether a frame is one of these functions, whatever offset, module, or line is told with it.
fn is_root(frame: &str, roots: &[&str]) -> bool {
    let name = frame.trim().split(['+', ' ', '`']).next().unwrap_or_default();
    roots.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folded_stack_is_complete_if_it_reaches_a_root() {
        let text = "load;_start;main;leaf 30\nload;middle;leaf 10\nnot a stack\n";
        assert_eq!(of_folded(text, &["main"]), Stacks { all: 40.0, complete: 30.0 });
    }

    #[test]
    fn a_sample_of_perf_is_complete_if_it_reaches_a_root() {
        let text = "load  7 \n\t55d leaf\n\t55e main\n\nload  7 \n\t55d leaf\n\n";
        assert_eq!(of_perf_script(text, &["main"]).part(), Some(0.5));
    }

    #[test]
    fn a_name_that_contains_a_root_is_none() {
        assert!(!is_root("domain", &["main"]) && is_root("main+0x11 (load)", &["main"]));
    }
}
