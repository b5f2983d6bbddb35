//! The messages of the pprof format, with the field numbers of its published schema.
//!
//! Schema: <https://github.com/google/pprof/blob/main/proto/profile.proto>. Texts are indices into `string_table`, ids are not zero.

/// A whole profile.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Profile {
    /// What the values of each sample mean, in order.
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    /// The samples.
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    /// The executables and libraries.
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    /// The places in code that samples refer to.
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    /// The functions that locations refer to.
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// All texts; the first is empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    /// The start, in nanoseconds since the Unix epoch.
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    /// The length in nanoseconds.
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    /// What is counted between two samples.
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    /// How much of it.
    #[prost(int64, tag = "12")]
    pub period: i64,
    /// Free text.
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    /// The name of the value to show first.
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

/// The name and unit of a value.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ValueType {
    /// The name.
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    /// The unit.
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

/// A stack with its values.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    /// The stack, leaf first.
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    /// One value per `sample_type`.
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    /// What else is known of the sample.
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

/// A key with a text or a number.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Label {
    /// The key.
    #[prost(int64, tag = "1")]
    pub key: i64,
    /// The text, if it is one.
    #[prost(int64, tag = "2")]
    pub str: i64,
    /// The number, if it is one.
    #[prost(int64, tag = "3")]
    pub num: i64,
    /// The unit of the number.
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

/// An executable or library.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Mapping {
    /// The id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// Where it starts in memory.
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    /// Where it ends in memory.
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    /// The offset in the file.
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    /// The name of the file.
    #[prost(int64, tag = "5")]
    pub filename: i64,
    /// The build id.
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    /// Whether functions are resolved.
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    /// Whether file names are resolved.
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    /// Whether lines are resolved.
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    /// Whether inlined functions are resolved.
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

impl Mapping {
    /// A mapping that asks no reader to look symbols up.
    pub fn symbolized(id: u64, filename: i64) -> Self {
        Self {
            id,
            filename,
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
            ..Self::default()
        }
    }
}

/// A place in code.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Location {
    /// The id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The mapping, or 0.
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    /// The address.
    #[prost(uint64, tag = "3")]
    pub address: u64,
    /// The functions there: the innermost inlined one first, the physical one last.
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

/// A line of a function.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Line {
    /// The function.
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    /// The line, or 0.
    #[prost(int64, tag = "2")]
    pub line: i64,
}

/// A function.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Function {
    /// The id.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// The name to show.
    #[prost(int64, tag = "2")]
    pub name: i64,
    /// The name in the symbol table.
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    /// The source file.
    #[prost(int64, tag = "4")]
    pub filename: i64,
}
