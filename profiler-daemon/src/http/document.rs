//! What the API's document says about parameters and refusals; the routes add the rest.

use std::collections::BTreeMap;

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, Type};
use utoipa::{IntoParams, IntoResponses, OpenApi};

use super::negotiation::{JSON, TEXT};
use crate::settings::Parameter as Row;
use crate::settings::parameter::{BREAKDOWN, HOTSPOTS, PROFILE, parameter};

/// The document without its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "profilerd",
        description = "Where the time of running processes goes: computing, waiting (and for what) or queueing for a CPU. \
                       All times are integer nanoseconds unless a name says otherwise.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(super::error::ErrorBody))
)]
pub struct Document;

/// The parameter of every answer that is a table.
const FORMAT: Row = Row {
    name: "format",
    help: "The form of the answer; without it the Accept header decides, and `*/*` means text.",
    values: &["json", "text"],
    example: "json",
};

/// `format` alone.
pub struct FormatParams;
/// The parameters of a breakdown.
pub struct BreakdownParams;
/// The parameters of hotspots.
pub struct HotspotParams;
/// The parameters of a question about the threads of a process.
pub struct ThreadParams;
/// The parameters of an exported profile.
pub struct ProfileParams;

impl IntoParams for FormatParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![documented(&FORMAT)]
    }
}

impl IntoParams for BreakdownParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        named(BREAKDOWN).chain([documented(&FORMAT)]).collect()
    }
}

impl IntoParams for HotspotParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        named(HOTSPOTS).chain([documented(&FORMAT)]).collect()
    }
}

impl IntoParams for ThreadParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let required = |mut pid: Parameter| {
            pid.required = Required::True;
            pid
        };
        named(&["pid"]).map(required).chain([documented(&FORMAT)]).collect()
    }
}

impl IntoParams for ProfileParams {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        named(PROFILE).collect()
    }
}

/// The refusals every question can meet.
pub struct Refusals;
/// The refusals of a question about a time and, perhaps, a process.
pub struct ReportRefusals;
/// The refusals of a request that changes something.
pub struct ControlRefusals;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        refusals(&[
            ("400", "A parameter is unknown, given twice or has a bad value, or the Host header is missing"),
            ("403", "The Host header is not this daemon's"),
            ("500", "The daemon failed; its log says why"),
            ("503", "The daemon is shutting down, or cannot profile any more"),
        ])
    }
}

impl IntoResponses for ReportRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = Refusals::responses();
        all.extend(refusals(&[
            ("404", "No process has this pid or matches, or no window covers this time"),
            ("409", "The process exists, or some match, but none is selected; the message says how to select it"),
        ]));
        all
    }
}

impl IntoResponses for ControlRefusals {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = Refusals::responses();
        all.extend(refusals(&[("403", "The Host header or the Origin header is not this daemon's")]));
        all
    }
}

fn refusals(rows: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    rows.iter().map(|(status, why)| ((*status).to_owned(), refusal(why))).collect()
}

fn refusal(why: &str) -> RefOr<Response> {
    let json = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
    let text = ContentBuilder::new().schema(Some(RefOr::T(Schema::from(string())))).build();
    ResponseBuilder::new().description(why).content(JSON, json).content(TEXT, text).build().into()
}

fn named(names: &'static [&'static str]) -> impl Iterator<Item = Parameter> {
    names.iter().filter_map(|name| parameter(name)).map(documented)
}

fn documented(row: &Row) -> Parameter {
    let allowed = (!row.values.is_empty()).then(|| row.values.iter().copied());
    ParameterBuilder::new()
        .name(row.name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(row.help))
        .example(Some(row.example.into()))
        .schema(Some(string().enum_values(allowed)))
        .build()
}

fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}
