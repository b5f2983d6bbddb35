//! Durations, sizes, numbers and moments as people write them.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;

use super::SettingsError;
use crate::profile::Timestamp;

/// A length of time such as `10s`, `500ms` or `1h30m`, within the range. `name` is the setting it is for.
pub fn parse_duration(
    name: &'static str,
    text: &str,
    range: RangeInclusive<Duration>,
) -> Result<Duration, SettingsError> {
    let expected = || {
        let (from, to) = (friendly(*range.start()), friendly(*range.end()));
        SettingsError::value(name, text, format!("write a duration from {from} to {to}, such as 10s, 500ms or 1h"))
    };
    let text_with_unit = if text.trim() == "0" { "0s" } else { text.trim() };
    let signed: SignedDuration = text_with_unit.parse().map_err(|_| expected())?;
    let duration = Duration::try_from(signed).map_err(|_| expected())?;
    if range.contains(&duration) { Ok(duration) } else { Err(expected()) }
}

/// A number of bytes such as `256MiB`, `1GiB`, `500MB` or `1048576`, within the range.
pub fn parse_bytes(name: &'static str, text: &str, range: RangeInclusive<usize>) -> Result<usize, SettingsError> {
    let expected = || {
        let (from, to) = (range.start() >> 20, range.end() >> 20);
        SettingsError::value(name, text, format!("write a size from {from}MiB to {to}MiB, such as 256MiB or 1GiB"))
    };
    let bytes = split_bytes(text.trim()).ok_or_else(expected)?;
    if range.contains(&bytes) { Ok(bytes) } else { Err(expected()) }
}

/// A whole number within the range.
pub fn parse_number<T>(name: &'static str, text: &str, range: RangeInclusive<T>) -> Result<T, SettingsError>
where
    T: FromStr + PartialOrd + Display,
{
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let expected = format!("write a whole number from {} to {}", range.start(), range.end());
            Err(SettingsError::value(name, text, expected))
        }
    }
}

/// A percentage from 0 to 100, with or without its sign.
pub fn parse_percent(name: &'static str, text: &str) -> Result<f64, SettingsError> {
    match text.trim_end_matches('%').parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(SettingsError::value(name, text, "write a percentage from 0 to 100, such as 0.5")),
    }
}

/// A moment in RFC 3339, after 1970.
pub fn parse_moment(name: &'static str, text: &str) -> Result<Timestamp, SettingsError> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .and_then(|moment| u64::try_from(moment.as_nanosecond()).ok())
        .map(Timestamp)
        .ok_or_else(|| SettingsError::value(name, text, "write a moment in RFC 3339, such as 2026-11-21T12:00:00Z"))
}

/// `true` or `false`.
pub fn parse_switch(name: &'static str, text: &str) -> Result<bool, SettingsError> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(SettingsError::value(name, text, "write true or false")),
    }
}

/// A duration as one writes it: `1h30m`, `10s`, `500ms`.
pub fn friendly(duration: Duration) -> String {
    let signed = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    let printer = jiff::fmt::friendly::SpanPrinter::new()
        .spacing(jiff::fmt::friendly::Spacing::None)
        .designator(jiff::fmt::friendly::Designator::Compact);
    printer.duration_to_string(&signed)
}

fn split_bytes(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: usize = match unit.trim_start() {
        "" | "B" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn duration(text: &str) -> Result<Duration, SettingsError> {
        parse_duration("window", text, Duration::from_millis(100)..=DAY)
    }

    fn bytes(text: &str) -> Result<usize, SettingsError> {
        parse_bytes("history-memory", text, 1 << 20..=1 << 34)
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, ms) in
            [("10s", 10_000), ("500ms", 500), ("1h30m", 5_400_000), ("1h 30m", 5_400_000), ("PT1M", 60_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn zero_needs_no_unit_where_it_is_allowed() {
        assert_eq!(parse_duration("wait-period", "0", Duration::ZERO..=DAY), Ok(Duration::ZERO));
        assert!(duration("0").is_err());
    }

    #[test]
    fn a_duration_without_unit_negative_or_out_of_range_says_the_range() {
        for text in ["10", "", "soon", "-3s", "0s", "99ms", "25h", "1e99s", "9999999999999999999h"] {
            let message = duration(text).unwrap_err().to_string();
            assert!(message.starts_with("window `") && message.contains("from 100ms to 24h"), "{message}");
        }
    }

    #[test]
    fn sizes_are_read_in_binary_and_decimal_units() {
        for (text, count) in [("256MiB", 256 << 20), ("1GiB", 1 << 30), ("2097152", 2 << 20), ("5 MB", 5_000_000)] {
            assert_eq!(bytes(text), Ok(count), "{text}");
        }
    }

    #[test]
    fn a_bad_size_says_the_range() {
        for text in ["", "MiB", "1.5GiB", "1KiB", "17GiB", "-1MiB", "99999999999999999999GiB"] {
            let message = bytes(text).unwrap_err().to_string();
            assert!(message.contains("from 1MiB to 16384MiB"), "{message}");
        }
    }

    #[test]
    fn a_moment_needs_its_offset() {
        assert_eq!(parse_moment("from", "1970-01-01T00:00:01Z"), Ok(Timestamp(1_000_000_000)));
        assert_eq!(parse_moment("from", "1970-01-01T02:00:01+02:00"), Ok(Timestamp(1_000_000_000)));
        for text in ["2026-11-21", "yesterday", "1960-01-01T00:00:00Z", ""] {
            assert!(parse_moment("from", text).unwrap_err().to_string().contains("RFC 3339"), "{text}");
        }
    }

    #[test]
    fn a_percentage_may_carry_its_sign() {
        assert_eq!(parse_percent("min", "0.5%"), Ok(0.5));
        assert_eq!(parse_percent("min", "100"), Ok(100.0));
        for text in ["101", "-1", "NaN", "a"] {
            assert!(parse_percent("min", text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_typed_is_shown_without_its_control_characters() {
        let message = duration("\u{1b}[31m\n").unwrap_err().to_string();
        assert!(!message.contains('\u{1b}') && !message.contains('\n'), "{message:?}");
    }
}
