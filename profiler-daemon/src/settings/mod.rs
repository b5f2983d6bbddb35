//! What the user meant, validated; knows neither clap nor HTTP.

pub mod sampling;
pub mod selector;

pub use sampling::{SamplingSettings, SwitchInChoice, VariantChoice};
pub use selector::{ParseSelectorError, Selector};
