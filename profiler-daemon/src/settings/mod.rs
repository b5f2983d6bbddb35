//! What the user meant, validated; knows neither clap nor HTTP.
//!
//! Text comes in as it was typed or sent, values come out, or a [`SettingsError`] that says what to write instead.

pub mod error;
pub mod listen;
pub mod parameter;
pub mod quantity;
pub mod report_query;
pub mod sampling;
pub mod selector;
pub mod server;

pub use error::SettingsError;
pub use listen::parse_listen;
pub use parameter::Parameter;
pub use report_query::{ReportQuery, TimeChoice};
pub use sampling::{SamplingSettings, SwitchInChoice, VariantChoice, WakerChoice};
pub use selector::{ParseSelectorError, Selector};
pub use server::ServerUrl;
