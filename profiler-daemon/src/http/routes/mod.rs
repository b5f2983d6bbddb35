//! The handlers, one file per group of routes, and the router that holds them.

mod health;
mod index;
mod metrics;
mod pprof;
mod profiles;
mod reports;
mod status;
mod targets;
mod threads;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Extension};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::document::Document;
use super::error::ApiError;
use super::{AppState, access, negotiation};
use crate::export::FORMATS;
use crate::report::escape_untrusted;

/// The largest body a request may have: a selection is a line.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Every route of the daemon, as a function of its state.
pub fn router(state: AppState) -> Router {
    let (router, document) = documented_routes().split_for_parts();
    router
        .layer(Extension(index::Pages::of(&document)))
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(state.clone(), access::guard))
        .layer(from_fn(negotiation::settle))
        .with_state(state)
}

fn documented_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(status::status))
        .routes(routes!(status::processes))
        .routes(routes!(targets::list, targets::add))
        .routes(routes!(targets::remove))
        .routes(routes!(reports::breakdown))
        .routes(routes!(reports::hotspots))
        .routes(routes!(threads::threads))
        .routes(routes!(profiles::folded))
        .routes(routes!(profiles::svg))
        .routes(routes!(profiles::pprof))
        .routes(routes!(profiles::speedscope))
        .routes(routes!(pprof::profile))
        .routes(routes!(pprof::index))
        .routes(routes!(pprof::cmdline))
        .routes(routes!(metrics::metrics))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(index::document))
        .routes(routes!(index::index))
}

async fn unknown_route(uri: Uri) -> ApiError {
    let path = escape_untrusted(uri.path());
    if path.starts_with("/api/v1/profile") {
        let formats: Vec<_> = FORMATS.iter().map(|format| format!("profile.{}", format.extension)).collect();
        let message = format!("there is no `{path}` here; the formats are {}", formats.join(", "));
        return ApiError::new(StatusCode::NOT_FOUND, message);
    }
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no `{path}` here; GET / lists what there is"))
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    let path = escape_untrusted(uri.path());
    let message = format!("`{path}` does not take {method}; the Allow header lists what it takes");
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
