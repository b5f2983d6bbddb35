//! Thin handlers: extract a query, call one function, return.
//!
//! [`router`] is a function of an [`AppState`]; [`serve`](serve::serve) puts it behind a listening socket. Every route
//! is registered together with its part of the API's document, so that `/openapi.json` lists all of them.
//!
//! | file | owns |
//! |---|---|
//! | `access` | which requests may pass: Host and Origin |
//! | `negotiation` | text or JSON, for answers and refusals |
//! | `query` | parameters |
//! | `document` | the API's document: parameters, refusals |
//! | `routes` | the handlers, one file per group |

pub mod access;
pub mod document;
pub mod error;
pub mod negotiation;
pub mod query;
pub mod routes;
pub mod serve;
mod state;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use error::ApiError;
pub use routes::router;
pub use state::AppState;
