//! Which form an answer takes: a text table for people, JSON for programs.
//!
//! `?format=json|text` decides; without it the `Accept` header does. A client that accepts anything (as `curl` does)
//! or asks for neither form gets text.

use axum::extract::{FromRequestParts, Request};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, X_CONTENT_TYPE_OPTIONS};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::{ApiError, ErrorBody};
use super::query::Pairs;

/// The media type of text answers.
pub const TEXT: &str = "text/plain; charset=utf-8";
/// The media type of JSON answers.
pub const JSON: &str = "application/json";

/// The form a client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Aligned text.
    Text,
    /// JSON.
    Json,
}

impl Form {
    /// The form the request asks for.
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        match Pairs::of(uri).value("format") {
            Some("json") => Self::Json,
            Some("text") => Self::Text,
            _ => Self::accepted(headers),
        }
    }

    fn accepted(headers: &HeaderMap) -> Self {
        let mut best = (Self::Text, 0.0);
        for header in headers.get_all(ACCEPT) {
            for range in header.to_str().unwrap_or_default().split(',') {
                let (form, quality) = media_range(range);
                if quality > best.1 {
                    best = (form, quality);
                }
            }
        }
        best.0
    }

    /// The answer in this form.
    pub fn answer(self, body: &impl Serialize, text: impl FnOnce() -> String) -> Response {
        match self {
            Self::Text => ([(CONTENT_TYPE, TEXT)], text()).into_response(),
            Self::Json => match serde_json::to_string(body) {
                Ok(json) => ([(CONTENT_TYPE, JSON)], json + "\n").into_response(),
                Err(error) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            },
        }
    }

    fn refusal(self, error: &ApiError) -> Response {
        let body = ErrorBody { error: error.message.clone() };
        (error.status, self.answer(&body, || format!("{}\n", error.message))).into_response()
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.uri, &parts.headers))
    }
}

/// Gives refusals the form the client wants, and every answer the headers that keep browsers from guessing.
pub async fn settle(request: Request, next: Next) -> Response {
    let form = Form::of(request.uri(), request.headers());
    let mut response = next.run(request).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let headers = std::mem::take(response.headers_mut());
        response = form.refusal(&error);
        copy_allow(&headers, response.headers_mut());
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn copy_allow(from: &HeaderMap, to: &mut HeaderMap) {
    use axum::http::header::ALLOW;
    if let Some(allowed) = from.get(ALLOW) {
        to.insert(ALLOW, allowed.clone());
    }
}

/// The form a media range stands for and its quality, from 0 to 1.
fn media_range(range: &str) -> (Form, f32) {
    let mut parts = range.split(';').map(str::trim);
    let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/json" | "application/*" => Form::Json,
        _ => Form::Text,
    };
    let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
    (form, quality.unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(uri: &'static str, accept: &'static str) -> Form {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
        Form::of(&Uri::from_static(uri), &headers)
    }

    #[test]
    fn programs_that_ask_for_json_get_it_and_everything_else_is_text() {
        for accept in ["application/json", "application/json, */*;q=0.5", "text/html;q=0.1, application/json;q=0.2"] {
            assert_eq!(form("/", accept), Form::Json, "{accept}");
        }
        for accept in ["*/*", "text/plain", "text/html,application/xml;q=0.9", "application/json;q=0", "image/png", ""]
        {
            assert_eq!(form("/", accept), Form::Text, "{accept}");
        }
    }

    #[test]
    fn axios_and_fetch_style_lists_prefer_what_stands_first() {
        assert_eq!(form("/", "application/json, text/plain, */*"), Form::Json);
        assert_eq!(form("/", "text/plain, application/json"), Form::Text);
    }

    #[test]
    fn the_format_parameter_outranks_the_header() {
        assert_eq!(form("/?format=text", "application/json"), Form::Text);
        assert_eq!(form("/?last=1s&format=json", "*/*"), Form::Json);
    }
}
