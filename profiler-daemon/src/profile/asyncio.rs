//! Tasks of asyncio on a stack, before they have names: the one the thread runs, and those that await it.

use super::PythonFrame;

/// One entry of what asyncio adds to a stack, leaf first: the running task, then for each task that awaits the one before it the
/// coroutines it awaits in, and the task itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsyncEntry {
    /// A task; the frames before it are those of its coroutines.
    Task(AsyncTask),
    /// Where a coroutine awaits; no native frame runs it.
    Frame(PythonFrame),
    /// Further tasks could not be read, or there was no room for them.
    Cut,
}

impl AsyncEntry {
    /// Whether it is a task whose name was not recorded whole.
    pub fn has_more_name(&self) -> bool {
        matches!(self, Self::Task(task) if task.name != AsyncName::Unreadable && task.name.text().is_none())
    }
}

/// A task of asyncio.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AsyncTask {
    /// Its name.
    pub name: AsyncName,
    /// Whether more than one task or future awaits it, of which one is shown.
    pub is_shared: bool,
}

/// The words of a name that the kernel half records.
pub const NAME_WORDS: usize = 7;

/// The name of a task, as far as the kernel half read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AsyncName {
    /// It could not be read.
    Unreadable,
    /// ASCII characters: those it begins with.
    Ascii {
        /// The address of the text.
        address: u64,
        /// How many characters it has.
        length: u64,
        /// The characters, filled up with zeros.
        characters: [u64; NAME_WORDS],
    },
    /// Other characters.
    Text {
        /// The address of the text.
        address: u64,
        /// How many characters it has.
        length: u64,
    },
    /// The number of a task nobody named.
    Number {
        /// How many digits there are, and the sign.
        tag: u64,
        /// The first two digits.
        digits: u64,
    },
}

impl AsyncName {
    /// The name, if all of it was recorded; of a text that is longer, `None`.
    pub fn text(&self) -> Option<String> {
        match *self {
            Self::Ascii { length, .. } if length > 8 * NAME_WORDS as u64 => None,
            Self::Ascii { .. } => self.beginning(),
            Self::Number { tag, digits } => Some(format!("Task-{}", number(tag, digits)?)),
            Self::Text { .. } | Self::Unreadable => None,
        }
    }

    /// What was recorded of a text.
    pub fn beginning(&self) -> Option<String> {
        let Self::Ascii { length, characters, .. } = self else { return None };
        let bytes = characters.iter().flat_map(|word| word.to_le_bytes());
        Some(bytes.take(usize::try_from(*length).unwrap_or(usize::MAX)).map(char::from).collect())
    }
}

/// A number of at most two digits of 30 bits.
fn number(tag: u64, digits: u64) -> Option<u64> {
    const DIGIT_BITS: u64 = 30;
    let (low, high) = (digits & u64::from(u32::MAX), digits >> 32);
    match tag >> 3 {
        0 => Some(0),
        1 => Some(low),
        2 => Some(high << DIGIT_BITS | low),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascii(length: u64, text: &str) -> AsyncName {
        let mut bytes = [0; 8 * NAME_WORDS];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        AsyncName::Ascii { address: 1, length, characters: bytemuck::cast(bytes) }
    }

    #[test]
    fn names_are_texts_or_numbers_of_one_or_two_digits() {
        let number = |tag, digits| AsyncName::Number { tag, digits }.text();
        assert_eq!(number(8, 12).as_deref(), Some("Task-12"));
        assert_eq!(number(16, 1 << 32 | 5).as_deref(), Some("Task-1073741829"));
        assert_eq!(number(24, 5), None);
        assert_eq!(ascii(8, "worker-a").text().as_deref(), Some("worker-a"));
        assert_eq!(AsyncName::Text { address: 1, length: 2 }.text(), None);
    }

    #[test]
    fn of_a_long_name_only_the_beginning_is_known() {
        let long = ascii(100, &"x".repeat(56));
        assert_eq!((long.text(), long.beginning().map(|text| text.len())), (None, Some(56)));
    }
}
