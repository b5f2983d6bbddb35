//! The router as a function: every route, both forms, every refusal, and the document that describes them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderMap,
    LOCATION, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt;
use unicode_width::UnicodeWidthStr;

use super::fixture::{HOSTILE, MISSING, PROFILED, SELECTED, START, Twin, UNSELECTED};
use super::state::ASKED_AT_ONCE;
use super::{AppState, router};
use crate::pipeline::{DaemonError, QueryRange};
use crate::profile::{TimeRange, Timestamp};

const TABLES: [&str; 5] =
    ["/api/v1/status", "/api/v1/processes", "/api/v1/targets", "/api/v1/breakdown", "/api/v1/hotspots"];
const PROFILES: [(&str, &str); 4] = [
    ("/api/v1/profile.folded", "text/plain; charset=utf-8"),
    ("/api/v1/profile.svg", "image/svg+xml"),
    ("/api/v1/profile.pb.gz", "application/octet-stream"),
    ("/api/v1/profile.speedscope.json", "application/json"),
];

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the answer is text")
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn media_type(&self) -> &str {
        self.headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap())
    }
}

/// A router in front of a twin.
struct Server {
    twin: Arc<Twin>,
    stop: watch::Sender<bool>,
    state: AppState,
    router: axum::Router,
}

impl Server {
    fn of(twin: Twin) -> Self {
        let twin = Arc::new(twin);
        let (stop, shutdown) = watch::channel(false);
        let listen = "127.0.0.1:7070".parse().unwrap();
        let state = AppState::new(twin.clone(), listen, shutdown);
        Self { twin, stop, router: router(state.clone()), state }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, uri: &str) -> Answer {
        self.send(request(Method::GET, uri).header(ACCEPT, "*/*").body(Body::empty()).unwrap()).await
    }

    async fn get_json(&self, uri: &str) -> Answer {
        self.send(request(Method::GET, uri).header(ACCEPT, "application/json").body(Body::empty()).unwrap()).await
    }

    async fn delete(&self, uri: &str) -> Answer {
        self.send(request(Method::DELETE, uri).body(Body::empty()).unwrap()).await
    }

    async fn post_target(&self, body: impl Into<String>) -> Answer {
        let request = request(Method::POST, "/api/v1/targets").header(CONTENT_TYPE, "application/json");
        self.send(request.header(ACCEPT, "application/json").body(Body::from(body.into())).unwrap()).await
    }
}

fn working() -> Server {
    Server::of(Twin::working())
}

fn request(method: Method, uri: &str) -> axum::http::request::Builder {
    Request::builder().method(method).uri(uri).header(HOST, "localhost:7070")
}

#[tokio::test]
async fn plain_curl_gets_tables_and_programs_get_json() {
    let server = working();
    for route in TABLES {
        let text = server.get(route).await;
        assert_eq!((text.status, text.media_type()), (StatusCode::OK, "text/plain; charset=utf-8"), "{route}");
        assert!(text.text().ends_with('\n') && !text.text().contains('\u{1b}'), "{route}: {}", text.text());
        let json = server.get_json(route).await;
        assert_eq!((json.status, json.media_type()), (StatusCode::OK, "application/json"), "{route}");
        assert!(json.json().is_object(), "{route}");
        assert_eq!(server.get(&format!("{route}?format=json")).await.json(), json.json(), "{route}");
        assert_eq!(server.get_json(&format!("{route}?format=text")).await.text(), text.text(), "{route}");
    }
}

#[tokio::test]
async fn threads_are_those_of_one_process_selected_or_not() {
    let server = working();
    let answer = server.get_json(&format!("/api/v1/threads?pid={UNSELECTED}")).await.json();
    assert_eq!((&answer["pid"], &answer["selected"]), (&json!(UNSELECTED), &json!(false)));
    let [waits, runs] = &answer["threads"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!(
        (&waits["state"], &waits["class"], &waits["call"]),
        (&json!("waiting"), &json!("net"), &json!("recvfrom"))
    );
    assert!(waits["stack"][0]["function"].is_string() && waits["no_stack"].is_null(), "{waits}");
    assert_eq!((&runs["state"], &runs["no_stack"]), (&json!("running"), &json!("it runs")));
    let text = server.get(&format!("/api/v1/threads?pid={PROFILED}")).await;
    assert_eq!((text.status, text.media_type()), (StatusCode::OK, "text/plain; charset=utf-8"));
    assert!(text.text().contains("waiting (net) in recvfrom") && !text.text().contains('\u{1b}'), "{}", text.text());
}

#[tokio::test]
async fn threads_of_no_process_are_refused_with_what_to_write() {
    let server = working();
    for (query, status) in [("", 400), ("?pid=x", 400), ("?pid=1&pid=2", 400), ("?pid=1&last=1s", 400)] {
        let answer = server.get_json(&format!("/api/v1/threads{query}")).await;
        assert_eq!(answer.status.as_u16(), status, "{query}");
        assert!(answer.json()["error"].is_string(), "{query}");
    }
    assert_eq!(server.get(&format!("/api/v1/threads?pid={MISSING}")).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn status_tells_variant_fallbacks_counters_and_losses() {
    let status = working().get_json("/api/v1/status").await.json();
    assert_eq!(status["switch_in"], "kprobe");
    assert_eq!(status["fallbacks"].as_array().unwrap().len(), 1);
    assert_eq!(status["counters"]["stack_walks"], 123);
    assert_eq!(status["loss"]["stack_ring_full"], 3);
    let text = working().get("/api/v1/status").await;
    assert!(text.text().contains("no sched_exit_tp") && text.text().contains("3 (stack_ring_full)"));
}

#[tokio::test]
async fn a_breakdown_keeps_the_contract_and_sums_up() {
    let breakdown = working().get_json("/api/v1/breakdown").await.json();
    let row = &breakdown["rows"][0];
    assert_eq!((&row["pid"], &row["comm"]), (&json!(PROFILED), &json!(HOSTILE)));
    let parts = ["cpu_ns", "runq_ns", "throttled_ns", "steal_ns"].map(|key| row[key].as_u64().unwrap());
    let waits: u64 = row["wait_ns"].as_object().unwrap().values().map(|ns| ns.as_u64().unwrap()).sum();
    assert_eq!(row["wait_ns"].as_object().unwrap().len(), 11);
    assert_eq!(row["wall_ns"].as_u64().unwrap(), parts.iter().sum::<u64>() + waits);
    assert!(breakdown["window"]["from"].as_str().unwrap().ends_with('Z'));
}

#[tokio::test]
async fn hotspots_name_the_function_and_take_every_parameter() {
    let server = working();
    let hotspots = server.get_json("/api/v1/hotspots").await.json();
    assert_eq!(hotspots["rows"][0]["function"], "read_all");
    let every = "/api/v1/hotspots?last=30s&pid=4711&state=cpu,wait&path=*.c&min=0.1&idle=show&by=line\
                 &inclusive=true&kernel=true&libc=true&native=true&limit=5&sort=cpu&columns=scalene";
    assert_eq!(server.get(every).await.status, StatusCode::OK);
    let asked = server.twin.asked.lock().unwrap().clone();
    assert_eq!(asked.last(), Some(&QueryRange::Last(Duration::from_secs(30))));
}

#[tokio::test]
async fn hotspots_show_the_text_of_their_lines_and_say_if_it_may_be_another_one() {
    let server = working();
    let row = &server.get_json("/api/v1/hotspots").await.json()["rows"][0];
    assert_eq!((&row["code"], &row["code_newer"]), (&json!("\tread(fd, \u{1b}[31m);"), &json!(true)));
    assert_eq!(row["cpu_leaf_ns"]["native"], json!({ "app": row["cpu_ns"]["native"] }));
    let text = server.get("/api/v1/hotspots").await;
    assert!(text.text().contains("  * read(fd, \\u{1b}[31m);\n* The file was changed"), "{}", text.text());
    assert!(server.get_json("/api/v1/hotspots?by=file").await.json()["rows"][0]["code"].is_null());
}

#[tokio::test]
async fn hotspots_in_the_columns_of_scalene_sum_up_to_the_total() {
    let server = working();
    let text = server.get("/api/v1/hotspots?columns=scalene").await;
    assert!(text.text().contains("IO Wait  CPU(Py)  CPU(C)  Total  Location"), "{}", text.text());
    let report = server.get_json("/api/v1/hotspots?columns=scalene").await.json();
    let row = &report["rows"][0];
    let parts = ["n_cpu_percent_python", "n_cpu_percent_c", "n_sys_percent"];
    let sum: f64 = parts.iter().map(|key| row["scalene"][key].as_f64().unwrap()).sum();
    let total = row["total_ns"].as_f64().unwrap() * 100.0 / report["selection"]["total_ns"].as_f64().unwrap();
    assert!((sum - total).abs() < 1e-9 && row["scalene"]["n_sys_percent"].as_f64().unwrap() > 50.0, "{row}");
    let refused = server.get("/api/v1/hotspots?columns=all").await;
    assert_eq!(refused.text(), "`all` is not a value of `columns`; write full or scalene\n");
}

#[tokio::test]
async fn profiles_have_the_media_type_of_their_format_and_cannot_be_sniffed() {
    let server = working();
    for (route, media_type) in PROFILES {
        let answer = server.get(route).await;
        assert_eq!((answer.status, answer.media_type()), (StatusCode::OK, media_type), "{route}");
        assert_eq!(answer.headers[X_CONTENT_TYPE_OPTIONS], "nosniff", "{route}");
        assert_eq!(answer.headers[CACHE_CONTROL], "no-store", "{route}");
        assert!(!answer.body.is_empty(), "{route}");
    }
}

#[tokio::test]
async fn a_flame_graph_may_run_its_script_and_reach_nothing() {
    let answer = working().get("/api/v1/profile.svg").await;
    let policy = answer.headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && policy.contains("form-action 'none'"), "{policy}");
    assert!(!answer.text().contains("<b>") && !answer.text().contains('\u{1b}'));
}

#[tokio::test(start_paused = true)]
async fn the_pprof_endpoint_waits_and_asks_for_the_time_it_waited() {
    let server = working();
    let answer = server.get("/debug/pprof/profile?seconds=30&pid=4711").await;
    assert_eq!((answer.status, answer.media_type()), (StatusCode::OK, "application/octet-stream"));
    assert!(answer.headers[CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment"));
    assert_eq!(&answer.body[..2], [0x1f, 0x8b], "gzip");
    let now = Timestamp(START);
    let range = QueryRange::Between(TimeRange { from: now, to: now });
    assert_eq!(*server.twin.asked.lock().unwrap(), [range], "the clock that stamps windows counts, not the system's");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_pprof_request_gives_up_when_the_daemon_stops() {
    let server = working();
    server.stop.send(true).unwrap();
    let answer = server.get("/debug/pprof/profile?seconds=3600").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.text(), "the daemon is shutting down\n");
}

#[tokio::test]
async fn a_target_can_be_added_listed_and_ended() {
    let server = working();
    let added = server.post_target(r#"{"select":"pid:4713","for":"30s"}"#).await;
    assert_eq!(added.status, StatusCode::CREATED);
    assert_eq!((&added.json()["id"], &added.json()["select"]), (&json!(2), &json!("pid:4713")));
    assert!(added.json()["until"].is_string());
    assert_eq!(added.headers[LOCATION], "/api/v1/targets/2");
    assert_eq!(server.get_json("/api/v1/targets").await.json()["targets"].as_array().unwrap().len(), 2);
    let removed = server.delete("/api/v1/targets/2").await;
    assert_eq!((removed.status, removed.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(server.delete("/api/v1/targets/2").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_that_is_no_selection_is_refused() {
    let server = working();
    for (body, part) in [
        ("", "not a selection"),
        ("[]", "not a selection"),
        (r#"{"select":17}"#, "not a selection"),
        (r#"{"select":"pid:1","four":"1s"}"#, "unknown field"),
        (r#"{"select":"pod:web"}"#, "its kind is unknown"),
        (r#"{"select":"all","for":"soon"}"#, "for `soon` is not valid: write a duration"),
        (r#"{"select":"all","for":"1000000h"}"#, "to 720h"),
    ] {
        let answer = server.post_target(body).await;
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(error.contains(part) && !error.contains('\n'), "{body}: {error}");
    }
    let missing = server.post_target(format!(r#"{{"select":"pid:{MISSING}"}}"#)).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    assert_eq!(server.twin.targets.lock().unwrap().len(), 1, "nothing was selected");
}

#[tokio::test]
async fn a_body_of_another_type_or_size_is_refused() {
    let server = working();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/json-patch+json"] {
        let request = request(Method::POST, "/api/v1/targets").header(CONTENT_TYPE, content_type);
        let answer = server.send(request.body(Body::from(r#"{"select":"all"}"#)).unwrap()).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    let large = format!(r#"{{"select":"comm:{}"}}"#, "x".repeat(100_000));
    assert_eq!(server.post_target(large).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_web_page_cannot_drive_the_daemon() {
    let server = working();
    let post = |host: &str, origin: Option<&str>| {
        let request = Request::builder().method(Method::POST).uri("/api/v1/targets").header(HOST, host);
        let request = origin.into_iter().fold(request, |request, origin| request.header(ORIGIN, origin));
        request.header(CONTENT_TYPE, "application/json").body(Body::from(r#"{"select":"all"}"#)).unwrap()
    };
    assert_eq!(server.send(post("evil.example", None)).await.status, StatusCode::FORBIDDEN);
    assert_eq!(server.send(post("127.0.0.1:7070", Some("http://evil.example"))).await.status, StatusCode::FORBIDDEN);
    let own = post("127.0.0.1:7070", Some("http://127.0.0.1:7070"));
    assert_eq!(server.send(own).await.status, StatusCode::CREATED);
    let rebound = Request::builder().uri("/api/v1/status").header(HOST, "evil.example").body(Body::empty()).unwrap();
    assert_eq!(server.send(rebound).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_process_that_is_not_profiled_says_why() {
    let server = working();
    for route in ["breakdown", "hotspots", "profile.folded", "profile.svg", "profile.pb.gz"] {
        let ask = |pid: u32| format!("/api/v1/{route}?pid={pid}");
        assert_eq!(server.get(&ask(PROFILED)).await.status, StatusCode::OK, "{route}");
        assert_eq!(server.get(&ask(SELECTED)).await.status, StatusCode::OK, "{route}");
        let unselected = server.get(&ask(UNSELECTED)).await;
        assert_eq!(unselected.status, StatusCode::CONFLICT, "{route}");
        assert!(unselected.text().contains(r#"POST /api/v1/targets {"select":"pid:4713"}"#), "{}", unselected.text());
        let missing = server.get(&ask(MISSING)).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{route}");
        assert!(missing.text().starts_with("no process has pid 4714"), "{}", missing.text());
    }
}

#[tokio::test]
async fn executables_and_cgroups_stand_for_the_processes_they_mean_now() {
    let server = working();
    let rows = async |query: &str| {
        let answer = server.get_json(&format!("/api/v1/breakdown?{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        answer.json()["rows"].as_array().unwrap().len()
    };
    for query in ["exe=/usr/bin/python3", "cgroup=/system.slice/", "exe=/usr/bin/python3&cgroup=/system.slice&pid=4711"]
    {
        assert_eq!(rows(query).await, 1, "{query}");
    }
    assert_eq!(rows("exe=/usr/bin/quiet").await, 0, "it is selected and has no time");
    let folded = server.get("/api/v1/profile.folded?exe=/usr/bin/quiet").await;
    assert_eq!((folded.status, folded.text()), (StatusCode::OK, ""));
    let hotspots = server.get_json("/api/v1/hotspots?exe=/usr/bin/quiet").await.json();
    assert_eq!(hotspots["total_ns"], 0);
}

#[tokio::test]
async fn a_name_means_who_had_it_then_and_the_children_of_who_has_it_now() {
    let server = working();
    let rows = async |comm: &str| {
        let answer = server.get_json(&format!("/api/v1/breakdown?comm={}", encoded(comm))).await;
        assert_eq!(answer.status, StatusCode::OK, "{comm}");
        answer.json()["rows"].as_array().unwrap().len()
    };
    assert_eq!(rows(HOSTILE).await, 1, "nobody alive is called so, but the history has it");
    assert_eq!(rows(&format!("{}, longer than the kernel keeps", &HOSTILE[..15])).await, 1);
    assert_eq!(rows("nginx").await, 1, "its child has another name");
    let path = format!("/api/v1/breakdown?comm={}&pid={PROFILED}", encoded(HOSTILE));
    assert_eq!(server.get(&path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_pprof_endpoint_refuses_before_it_waits() {
    tokio::time::pause();
    let server = working();
    for (query, status) in [
        ("state=nap", StatusCode::BAD_REQUEST),
        ("pid=4714", StatusCode::NOT_FOUND),
        ("pid=4713", StatusCode::CONFLICT),
        ("comm=nosuch", StatusCode::NOT_FOUND),
        ("exe=/usr/bin/unselected", StatusCode::CONFLICT),
    ] {
        let begun = tokio::time::Instant::now();
        let answer = server.get(&format!("/debug/pprof/profile?seconds=3600&{query}")).await;
        assert_eq!((answer.status, begun.elapsed()), (status, Duration::ZERO), "{query}: {}", answer.text());
    }
}

#[tokio::test]
async fn slow_profiles_keep_no_scrape_waiting() {
    let server = working();
    let (busy, until) = std::sync::mpsc::channel();
    *server.twin.busy.lock().unwrap() = Some(until);
    let mut slow = Vec::new();
    for _ in 0..ASKED_AT_ONCE + 1 {
        slow.push(Box::pin(server.get("/api/v1/hotspots")));
    }
    for profile in &mut slow {
        assert!(tokio::time::timeout(Duration::ZERO, profile).await.is_err(), "it waits");
    }
    for route in ["/metrics", "/readyz", "/api/v1/status", "/api/v1/processes", "/api/v1/targets"] {
        let answer = tokio::time::timeout(Duration::from_secs(60), server.get(route)).await;
        assert_eq!(answer.map(|answer| answer.status), Ok(StatusCode::OK), "{route}");
    }
    drop(busy);
    for profile in slow {
        assert_eq!(profile.await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn looks_at_threads_take_turns_with_reports() {
    let server = working();
    let (busy, until) = std::sync::mpsc::channel();
    *server.twin.busy.lock().unwrap() = Some(until);
    let question = format!("/api/v1/threads?pid={PROFILED}");
    let mut slow = Box::pin(server.get(&question));
    assert!(tokio::time::timeout(Duration::ZERO, &mut slow).await.is_err(), "it waits");
    assert_eq!(server.state.turns_left(), ASKED_AT_ONCE - 1);
    drop(busy);
    assert_eq!((slow.await.status, server.state.turns_left()), (StatusCode::OK, ASKED_AT_ONCE));
}

#[tokio::test]
async fn columns_stay_aligned_behind_wide_names() {
    let answer = working().get("/api/v1/processes").await;
    let lines: Vec<_> = answer.text().lines().skip(1).collect();
    let starts: Vec<_> = lines.iter().map(|line| line[..line.find("/srv/app").unwrap()].width()).collect();
    assert_eq!(starts[0], starts[1], "{lines:#?}");
}

#[tokio::test(start_paused = true)]
async fn an_executable_a_cgroup_or_a_name_without_a_profiled_process_says_why() {
    let server = working();
    for route in ["/api/v1/breakdown", "/api/v1/hotspots", "/api/v1/profile.svg", "/debug/pprof/profile"] {
        for (query, status, message) in [
            ("exe=/bin/%1b", StatusCode::NOT_FOUND, "no process alive now matches exe:/bin/\\u{1b}; GET"),
            ("comm=nosuch", StatusCode::NOT_FOUND, "no process alive now matches comm:nosuch; GET"),
            ("comm=unselected", StatusCode::CONFLICT, r#"POST /api/v1/targets {"select":"comm:unselected"}"#),
            ("cgroup=/none", StatusCode::NOT_FOUND, "no process alive now matches cgroup:/none; GET"),
            (
                "exe=/usr/bin/quiet&cgroup=/system.slice&pid=4711",
                StatusCode::NOT_FOUND,
                "no process alive now matches pid:4711 and exe:/usr/bin/quiet and cgroup:/system.slice; GET",
            ),
            (
                "exe=/usr/bin/unselected",
                StatusCode::CONFLICT,
                r#"POST /api/v1/targets {"select":"exe:/usr/bin/unselected"}"#,
            ),
        ] {
            let answer = server.get(&format!("{route}?{query}")).await;
            assert_eq!(answer.status, status, "{route} {query}");
            let text = answer.text();
            assert!(text.contains(message) && text.trim_end().lines().count() == 1, "{route} {query}: {text}");
        }
    }
}

#[tokio::test]
async fn a_bad_parameter_is_refused_in_the_form_the_client_wants() {
    let server = working();
    for (uri, message) in [
        ("/api/v1/breakdown?last=soon", "last `soon` is not valid"),
        ("/api/v1/breakdown?path=*.py", "unknown parameter `path`; known are last"),
        ("/api/v1/breakdown?sort=size", "sort"),
        ("/api/v1/hotspots?by=files", "function, line, file, thread, process or wait"),
        ("/api/v1/hotspots?state=nap", "disk"),
        ("/api/v1/hotspots?path=[", "path pattern"),
        ("/api/v1/hotspots?limit=1&limit=2", "limit is given twice"),
        ("/api/v1/hotspots?format=xml", "format `xml` is not valid: write json or text"),
        ("/api/v1/status?last=1s", "unknown parameter `last`"),
        ("/api/v1/profile.folded?limit=3", "unknown parameter `limit`"),
        ("/api/v1/profile.svg?format=json", "unknown parameter `format`"),
        ("/debug/pprof/profile?seconds=0", "seconds `0` is not valid: write a whole number from 1 to 3600"),
        ("/debug/pprof/profile?seconds=3601", "1 to 3600"),
        ("/api/v1/hotspots?exe=python3", "exe `python3` is not valid: write an absolute path"),
        ("/api/v1/profile.folded?cgroup=", "cgroup `` is not valid: write an absolute path"),
        ("/debug/pprof/profile?last=1s", "unknown parameter `last`"),
    ] {
        let text = server.get(uri).await;
        assert_eq!(text.status, StatusCode::BAD_REQUEST, "{uri}");
        assert!(text.text().contains(message) && text.text().trim_end().lines().count() == 1, "{uri}: {}", text.text());
        let json = server.get_json(uri).await;
        if !uri.contains("format=") {
            assert!(json.json()["error"].as_str().unwrap().contains(message), "{uri}");
        }
    }
    assert!(server.twin.asked.lock().unwrap().is_empty(), "the daemon was not asked");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused_with_a_way_on() {
    let server = working();
    let unknown = server.get("/api/v1/nothing").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text().contains("GET / lists"), "{}", unknown.text());
    assert!(server.get_json("/api/v2").await.json()["error"].is_string());
    let format = server.get("/api/v1/profile.xml").await;
    assert_eq!(format.status, StatusCode::NOT_FOUND);
    assert!(format.text().contains("profile.folded, profile.svg, profile.pb.gz"), "{}", format.text());
    let method = server.delete("/api/v1/status").await;
    assert_eq!(method.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(method.headers[ALLOW].to_str().unwrap().contains("GET"));
    assert!(method.text().contains("does not take DELETE"), "{}", method.text());
    assert_eq!(server.delete("/api/v1/targets/x").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_refusal_of_the_daemon_has_its_status() {
    for (failure, status) in [
        (DaemonError::NoHistory("2026-11-21T12:00:00Z".to_owned()), StatusCode::NOT_FOUND),
        (DaemonError::Kernel("map is full".to_owned()), StatusCode::INTERNAL_SERVER_ERROR),
        (DaemonError::ShuttingDown, StatusCode::SERVICE_UNAVAILABLE),
    ] {
        let message = failure.to_string();
        let answer = Server::of(Twin::failing(failure)).get("/api/v1/hotspots").await;
        assert_eq!((answer.status, answer.text().trim_end()), (status, message.as_str()));
    }
    let full = Server::of(Twin::failing(DaemonError::TooManyTargets(64)));
    assert_eq!(full.post_target(r#"{"select":"all"}"#).await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn ready_means_attached_or_told_to_wait() {
    let ready = |attached: bool, selected: bool| async move {
        let mut twin = Twin::working();
        twin.status.attached = attached;
        if !selected {
            twin.targets.lock().unwrap().clear();
        }
        Server::of(twin).get("/readyz").await.status
    };
    assert_eq!(ready(true, true).await, StatusCode::OK);
    assert_eq!(ready(false, true).await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ready(false, false).await, StatusCode::OK);
    assert_eq!(working().get("/healthz").await.text(), "ok\n");
}

#[tokio::test]
async fn a_daemon_that_lost_a_thread_is_not_ready_and_invents_no_answer() {
    for route in TABLES.into_iter().chain(["/readyz", "/metrics", "/api/v1/profile.folded?comm=web"]) {
        let answer = Server::of(Twin::failing(DaemonError::ThreadLost)).get(route).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{route}");
        assert!(answer.text().contains("a thread of the daemon ended unexpectedly"), "{route}: {}", answer.text());
    }
}

#[tokio::test]
async fn metrics_carry_exact_seconds_losses_and_the_daemons_own_cost() {
    let answer = working().get("/metrics").await;
    assert!(answer.media_type().starts_with("application/openmetrics-text"));
    let text = answer.text();
    assert!(text.ends_with("# EOF\n"));
    for line in [
        "# TYPE profilerd_cpu_seconds counter",
        "profilerd_samples_lost_total{reason=\"stack_ring_full\"} 3.0",
        "profilerd_samples_lost_total{reason=\"window_full\"} 0.0",
        "profilerd_stack_walks_total 123.0",
        "profilerd_targets 1.0",
        "profilerd_self_cpu_seconds_total 0.5",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let disk = text.lines().find(|line| line.contains("class=\"disk\"") && line.contains("wait_seconds")).unwrap();
    assert!(disk.starts_with("profilerd_wait_seconds_total{comm=") && disk.ends_with(" 6.0"), "{disk}");
    assert!(!text.contains('\u{1b}'));
}

#[tokio::test]
async fn the_first_page_lists_every_route_of_the_document() {
    let server = working();
    let document = server.get("/openapi.json").await.json();
    let text = server.get("/").await;
    let browser = request(Method::GET, "/").header(ACCEPT, "text/html,*/*;q=0.8").body(Body::empty()).unwrap();
    let html = server.send(browser).await;
    assert_eq!(html.media_type(), "text/html; charset=utf-8");
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(text.text().contains(path) && html.text().contains(path), "{path}");
    }
    assert!(server.get("/debug/pprof/").await.text().contains("profile"));
    assert!(!server.get("/debug/pprof/cmdline").await.body.is_empty());
}

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    spec: Value,
}

impl Operation {
    fn all(document: &Value) -> Vec<Self> {
        let of_path = |(path, item): (&String, &Value)| {
            let operations = item.as_object().unwrap().iter();
            let operation = |(method, spec): (&String, &Value)| Self {
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                spec: spec.clone(),
            };
            operations.map(operation).collect::<Vec<_>>()
        };
        document["paths"].as_object().unwrap().iter().flat_map(of_path).collect()
    }

    fn parameters(&self, place: &str) -> Vec<(String, String)> {
        let empty = Vec::new();
        let all = self.spec["parameters"].as_array().unwrap_or(&empty);
        let text = |example: &Value| example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        all.iter()
            .filter(|parameter| parameter["in"] == place)
            .map(|parameter| (parameter["name"].as_str().unwrap().to_owned(), text(&parameter["example"])))
            .collect()
    }

    /// The query, and those parameters that no query may lack.
    fn with_required(&self, query: &str) -> String {
        let all = self.spec["parameters"].as_array().into_iter().flatten();
        let is_missing = |name: &str| !query.contains(&format!("?{name}=")) && !query.contains(&format!("&{name}="));
        all.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true)
            .filter_map(|parameter| Some((parameter["name"].as_str()?, parameter["example"].as_str()?)))
            .filter(|(name, _)| is_missing(name))
            .fold(query.to_owned(), |query, (name, example)| {
                format!("{query}{}{name}={example}", if query.is_empty() { '?' } else { '&' })
            })
    }

    fn request(&self, query: &str, accept: &str) -> Request<Body> {
        let path = self
            .parameters("path")
            .iter()
            .fold(self.path.clone(), |path, (name, example)| path.replace(&format!("{{{name}}}"), example));
        let query = self.with_required(query);
        let request = request(self.method.clone(), &format!("{path}{query}")).header(ACCEPT, accept);
        match self.spec["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() {
            None => request.body(Body::empty()).unwrap(),
            Some(_) => request
                .header(CONTENT_TYPE, "application/json")
                .body(Body::from(r#"{"select":"comm:nginx","for":"30s"}"#))
                .unwrap(),
        }
    }

    /// Fails unless the document lists the status, and the media type for it.
    fn check(&self, answer: &Answer, what: &str) {
        let (method, path) = (&self.method, &self.path);
        let documented = &self.spec["responses"][answer.status.as_str()];
        assert!(documented.is_object(), "{method} {path} {what}: {} is not documented", answer.status);
        match documented["content"].as_object() {
            None => assert!(answer.body.is_empty(), "{method} {path} {what}: the body is not documented"),
            Some(content) => {
                let media_type = answer.media_type();
                assert!(content.contains_key(media_type), "{method} {path} {what}: {media_type} is not documented");
            }
        }
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test(start_paused = true)]
async fn the_document_is_true() {
    let document = working().get("/openapi.json").await.json();
    let operations = Operation::all(&document);
    assert!(operations.len() >= 18, "{} operations", operations.len());
    for operation in &operations {
        for accept in ["*/*", "application/json", "text/html"] {
            let answer = working().send(operation.request("", accept)).await;
            assert!(answer.status.is_success(), "{} {}: {}", operation.method, operation.path, answer.status);
            operation.check(&answer, accept);
            for failure in [DaemonError::ShuttingDown, DaemonError::Kernel("full".to_owned())] {
                let answer = Server::of(Twin::failing(failure)).send(operation.request("", accept)).await;
                operation.check(&answer, "of a failing daemon");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_documented_parameter_is_understood_and_every_other_one_is_refused() {
    let document = working().get("/openapi.json").await.json();
    for operation in Operation::all(&document) {
        let parameters = operation.parameters("query");
        for (name, example) in &parameters {
            let from = if name == "to" { "from=2020-01-01T00:00:00Z&" } else { "" };
            let query = format!("?{from}{name}={}", encoded(example));
            let answer = working().send(operation.request(&query, "*/*")).await;
            let what = format!("{} {}{query}", operation.method, operation.path);
            assert!(answer.status.is_success(), "{what}: {}", answer.text());
            operation.check(&answer, name);
        }
        for query in parameters.iter().map(|(name, _)| format!("?{name}=%1b&{name}=x")).chain(["?x=1".to_owned()]) {
            let answer = working().send(operation.request(&query, "application/json")).await;
            if !parameters.is_empty() {
                assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{} {}{query}", operation.method, operation.path);
            }
            operation.check(&answer, &query);
        }
    }
}

#[tokio::test]
async fn the_document_knows_every_refusal_of_a_selection() {
    let document = working().get("/openapi.json").await.json();
    let operations = Operation::all(&document);
    let add = operations.iter().find(|operation| operation.method == Method::POST).unwrap();
    let check = async |server: &Server, content_type: &str, body: String, status: StatusCode| {
        let request = request(Method::POST, &add.path).header(CONTENT_TYPE, content_type);
        let answer = server.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(answer.status, status);
        add.check(&answer, "refusing");
    };
    let server = working();
    check(&server, "text/plain", "{}".to_owned(), StatusCode::UNSUPPORTED_MEDIA_TYPE).await;
    check(&server, "application/json", " ".repeat(100_000), StatusCode::PAYLOAD_TOO_LARGE).await;
    check(&server, "application/json", "{}".to_owned(), StatusCode::BAD_REQUEST).await;
    let missing = format!(r#"{{"select":"pid:{MISSING}"}}"#);
    check(&server, "application/json", missing, StatusCode::NOT_FOUND).await;
    let full = Server::of(Twin::failing(DaemonError::TooManyTargets(64)));
    check(&full, "application/json", r#"{"select":"all"}"#.to_owned(), StatusCode::CONFLICT).await;
}

#[tokio::test]
async fn the_document_knows_foreign_hosts_and_missing_processes() {
    let document = working().get("/openapi.json").await.json();
    for operation in Operation::all(&document) {
        let mut foreign = operation.request("", "*/*");
        foreign.headers_mut().insert(HOST, "evil.example".parse().unwrap());
        operation.check(&working().send(foreign).await, "from a foreign host");
        let mut nameless = operation.request("", "*/*");
        nameless.headers_mut().remove(HOST);
        operation.check(&working().send(nameless).await, "without a host");
        if operation.path.starts_with("/api") && operation.parameters("query").iter().any(|(name, _)| name == "pid") {
            // The threads of any process can be read.
            let unselected = (operation.path != "/api/v1/threads").then_some(UNSELECTED);
            for pid in [MISSING].into_iter().chain(unselected) {
                let answer = working().send(operation.request(&format!("?pid={pid}"), "*/*")).await;
                assert!(answer.status.is_client_error());
                operation.check(&answer, "of a process that is not profiled");
            }
        }
    }
}

#[tokio::test]
async fn json_answers_have_the_properties_of_their_schema_and_no_others() {
    let server = Server::of(Twin { has_loop: true, ..Twin::working() });
    let document = server.get("/openapi.json").await.json();
    for route in TABLES.into_iter().chain(["/api/v1/hotspots?by=wait"]) {
        let path = route.split('?').next().unwrap();
        let reference = &document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let answer = server.get_json(route).await.json();
        check_schema(&document, reference, &answer, route);
    }
    let mut waits = server.get_json("/api/v1/hotspots?by=wait").await.json();
    let has = |key: &str| waits["rows"].as_array().unwrap().iter().any(|row| !row[key].is_null());
    assert!(waits["awaits"].is_object() && has("woken_by") && has("wait_lengths") && has("waits_for"), "{waits}");
    let known = &document["paths"]["/api/v1/hotspots"]["get"]["responses"]["200"];
    waits["rows"][0]["stray"] = true.into();
    let check = || check_schema(&document, &known["content"]["application/json"]["schema"], &waits, "a stray property");
    assert!(std::panic::catch_unwind(check).is_err(), "the schema must be able to refuse something");
}

/// Fails unless the value has the type and the required properties of the schema, all the way down, and no property
/// that the schema does not know.
fn check_schema(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let (Some(known), Some(object)) = (properties(document, schema), value.as_object()) {
        let unknown: Vec<_> = object.keys().filter(|name| !known.contains(&name.as_str())).collect();
        assert!(unknown.is_empty(), "{at}: {unknown:?} is not in the document");
    }
    check_known(document, schema, value, at);
}

/// The names the schema knows; `None` if there may be others.
fn properties<'a>(document: &'a Value, schema: &'a Value) -> Option<Vec<&'a str>> {
    let schema = resolved(document, schema);
    if let Some(all) = schema["allOf"].as_array() {
        let parts = all.iter().map(|part| properties(document, part)).collect::<Option<Vec<_>>>()?;
        return Some(parts.concat());
    }
    let properties = schema["properties"].as_object().filter(|_| schema["additionalProperties"].is_null())?;
    Some(properties.keys().map(String::as_str).collect())
}

/// The same of what the schema knows.
fn check_known(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolved(document, schema);
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().for_each(|part| check_known(document, part, value, at));
    }
    // What may be absent is written as null or something.
    let choices: Vec<_> =
        schema["oneOf"].as_array().into_iter().flatten().filter(|one| one["type"] != "null").collect();
    if let [only] = choices[..] {
        return check_schema(document, only, value, at);
    }
    if let Some(required) = schema["required"].as_array() {
        for name in required {
            assert!(value.get(name.as_str().unwrap()).is_some(), "{at}: {name} is missing");
        }
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(inner) = value.get(name).filter(|inner| !inner.is_null()) {
            check_schema(document, property, inner, &format!("{at}.{name}"));
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        check_schema(document, &schema["items"], inner, &format!("{at}[{index}]"));
    }
    check_type(&schema["type"], value, at);
}

fn check_type(allowed: &Value, value: &Value, at: &str) {
    let actual: &[&str] = match value {
        Value::Null => &["null"],
        Value::Bool(_) => &["boolean"],
        Value::Number(number) if number.is_u64() => &["integer", "number"],
        Value::Number(_) => &["number"],
        Value::String(_) => &["string"],
        Value::Array(_) => &["array"],
        Value::Object(_) => &["object"],
    };
    let fits = match allowed {
        Value::String(one) => actual.contains(&one.as_str()),
        Value::Array(several) => several.iter().any(|one| actual.contains(&one.as_str().unwrap())),
        _ => true,
    };
    assert!(fits, "{at}: {value} is not {allowed}");
}

fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).expect("references resolve"),
        None => schema,
    }
}
