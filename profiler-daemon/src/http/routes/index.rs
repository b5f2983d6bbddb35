//! The page that says what there is, and the API's document. Both are made from the routes.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::Extension;
use axum::http::header::{ACCEPT, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi;
use utoipa::openapi::path::PathItem;

use super::super::document::Refusals;
use super::super::negotiation::{JSON, TEXT};

/// The pages, rendered once.
#[derive(Debug)]
pub(super) struct Pages {
    document: String,
    text: String,
    html: String,
}

impl Pages {
    /// The pages of the routes that the document lists.
    pub(super) fn of(document: &OpenApi) -> Arc<Self> {
        let rows = rows(document);
        let json = document.to_pretty_json().expect("the document is made of strings and maps");
        Arc::new(Self { document: json, text: as_text(&rows), html: as_html(&rows) })
    }
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "help", responses(
    (status = 200, description = "The API's document, in OpenAPI 3.1", body = Object, content_type = "application/json"),
    Refusals,
))]
pub(super) async fn document(Extension(pages): Extension<Arc<Pages>>) -> Response {
    ([(CONTENT_TYPE, JSON)], pages.document.clone()).into_response()
}

/// What there is
#[utoipa::path(get, path = "/", tag = "help", responses(
    (status = 200, description = "A list of all endpoints", content(
        (String = "text/plain; charset=utf-8"), (String = "text/html; charset=utf-8"))),
    Refusals,
))]
pub(super) async fn index(Extension(pages): Extension<Arc<Pages>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !accept.contains("text/html") {
        return ([(CONTENT_TYPE, TEXT)], pages.text.clone()).into_response();
    }
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, "default-src 'none'")];
    (headers, pages.html.clone()).into_response()
}

/// One line of the list.
struct Row {
    method: &'static str,
    path: String,
    summary: String,
}

fn rows(document: &OpenApi) -> Vec<Row> {
    document.paths.paths.iter().flat_map(|(path, item)| rows_of(path, item)).collect()
}

fn rows_of(path: &str, item: &PathItem) -> Vec<Row> {
    let operations = [("GET", &item.get), ("POST", &item.post), ("DELETE", &item.delete)];
    let row = |(method, summary): (&'static str, String)| Row { method, path: path.to_owned(), summary };
    operations
        .into_iter()
        .filter_map(|(method, operation)| Some((method, operation.as_ref()?.summary.clone().unwrap_or_default())))
        .map(row)
        .collect()
}

fn as_text(rows: &[Row]) -> String {
    let mut text = "profilerd: where the time of running processes goes\n\n".to_owned();
    let width = rows.iter().map(|row| row.path.len()).max().unwrap_or_default();
    for Row { method, path, summary } in rows {
        writeln!(text, "{method:<6}  {path:<width$}  {summary}").expect("writing to a string succeeds");
    }
    text + "\nTry: curl 'localhost:7070/api/v1/hotspots?last=60s'    Parameters and answers: /openapi.json\n"
}

fn as_html(rows: &[Row]) -> String {
    let mut list = String::new();
    for Row { method, path, summary } in rows {
        let shown = match *method {
            "GET" => format!("<a href=\"{path}\">{path}</a>"),
            _ => path.clone(),
        };
        writeln!(list, "<tr><td>{method}<td>{shown}<td>{summary}").expect("writing to a string succeeds");
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>profilerd</title>\
         <h1>profilerd</h1><p>Where the time of running processes goes.</p><table>\n{list}</table></html>\n"
    )
}
