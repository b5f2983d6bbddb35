//! The documents agree with the code, where a program can tell: endpoints, commands, flags, links, rooms.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use clap::CommandFactory;
use profiler_daemon::cli::Arguments;
use profiler_daemon::http::{AppState, router};
use profiler_daemon::pipeline::{Daemon, DaemonError, ProcessStatus, QueryRange, Status, Target, TargetId};
use profiler_daemon::profile::{Place, ProcessNow, Profile, TaskTotals, Timestamp};
use profiler_daemon::settings::Selector;
use serde_json::Value;
use tower::ServiceExt;

/// Flags in the documents that belong to other programs.
const FOREIGN_FLAGS: [&str; 2] = ["--release", "--pid=host"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("failed to read `{}`: {error}", path.display()))
}

#[tokio::test]
async fn the_readme_and_the_api_list_the_same_endpoints() {
    let document = openapi().await;
    let served: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let written = endpoints(&read("README.md"));
    let unknown: Vec<_> = written.iter().filter(|path| !served.contains(template(path))).collect();
    assert!(unknown.is_empty(), "the README names endpoints there are not: {unknown:?}");
    let written: BTreeSet<&str> = written.iter().map(|path| template(path)).collect();
    let missing: Vec<_> = served.difference(&written).collect();
    assert!(missing.is_empty(), "the README leaves out endpoints: {missing:?}");
}

#[tokio::test]
async fn the_readme_and_the_api_list_the_same_parameters() {
    let document = openapi().await;
    let readme = read("README.md");
    for path in ["/api/v1/hotspots", "/api/v1/breakdown"] {
        for parameter in document["paths"][path]["get"]["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let cell = |line: &str| line.starts_with("| `") && spans(line).iter().any(|span| stem(span) == name);
            assert!(readme.lines().any(cell), "no table of the README explains `{name}`");
        }
    }
}

/// `last` of `last=60s`.
fn stem(span: &str) -> &str {
    span.split('=').next().unwrap_or(span)
}

#[test]
fn every_command_and_flag_of_the_documents_exists() {
    let commands = commands();
    for path in documents(&root()) {
        let document = path.display();
        for line in command_lines(&fs::read_to_string(&path).unwrap()) {
            let mut words = line.split_whitespace().skip(1).take_while(|word| *word != "#");
            let name = words.next().unwrap_or_default();
            let help =
                commands.get(name).unwrap_or_else(|| panic!("{document}: no command is called `{name}`: {line}"));
            let flags: Vec<_> = words.filter(|word| word.starts_with('-')).collect();
            let unknown: Vec<_> = flags.into_iter().filter(|flag| !has_flag(help, flag)).collect();
            assert!(unknown.is_empty(), "{document}: `{line}` has flags `{name}` does not take: {unknown:?}");
        }
    }
}

#[test]
fn every_flag_the_readme_mentions_exists() {
    let help: String = commands().into_values().collect();
    let readme = read("README.md");
    let flags = readme.split(|c: char| c.is_whitespace() || "`(),;".contains(c)).filter(|word| is_flag(word));
    let unknown: Vec<_> = flags.filter(|flag| !FOREIGN_FLAGS.contains(flag) && !has_flag(&help, flag)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn is_flag(word: &str) -> bool {
    word.strip_prefix("--").is_some_and(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
}

#[test]
fn the_readme_presents_every_command() {
    let readme = read("README.md");
    let lines: Vec<_> = command_lines(&readme).collect();
    for name in commands().keys().filter(|name| !matches!(name.as_str(), "--help" | "help")) {
        assert!(lines.iter().any(|line| line.split_whitespace().nth(1) == Some(name)), "`profilerd {name}` is missing");
    }
}

#[test]
fn every_task_of_the_documents_exists() {
    for path in documents(&root()) {
        let (document, text) = (path.display(), fs::read_to_string(&path).unwrap());
        for after in text.split("cargo xtask ").skip(1) {
            let verb: String = after.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
            let file = format!("xtask/src/verbs/{}.rs", verb.replace('-', "_"));
            assert!(verb.is_empty() || root().join(&file).exists(), "{document}: no task is called `{verb}`");
        }
    }
}

#[test]
fn every_relative_link_of_the_documents_leads_somewhere() {
    for document in documents(&root()) {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() { document.clone() } else { document.parent().unwrap().join(file) };
            assert!(path.exists(), "{}: `{target}` leads nowhere", document.display());
            assert!(
                anchor.is_empty() || headings(&fs::read_to_string(&path).unwrap()).contains(anchor),
                "{}: no heading for `{target}`",
                document.display()
            );
        }
    }
}

#[test]
fn the_architecture_lists_every_room_in_the_order_the_code_keeps() {
    let listed = rooms_of(&read("ARCHITECTURE.md"));
    let source = root().join("profiler-daemon/src");
    let rooms: BTreeSet<String> = folders(&source).iter().map(|path| name_of(path)).collect();
    assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), rooms);
    for (at, room) in listed.iter().enumerate() {
        for file in rust_files(&source.join(room)) {
            for imported in imported_rooms(&fs::read_to_string(&file).unwrap()) {
                let above = listed[..=at].contains(&imported) || !rooms.contains(&imported);
                assert!(above, "`{}` imports `{imported}`, which does not stand above it", file.display());
            }
        }
    }
}

#[test]
fn the_architecture_names_every_file_of_the_kernel_half() {
    let text = read("ARCHITECTURE.md");
    for folder in ["profiler-ebpf/src", "profiler-common/src"] {
        for file in rust_files(&root().join(folder)) {
            // A folder's own file goes by the name of the folder.
            let name = match name_of(&file) {
                name if name == "mod.rs" => name_of(file.parent().unwrap()),
                name => name,
            };
            let known = name == "lib.rs" || text.contains(&format!("`{}`", name.trim_end_matches(".rs")));
            assert!(known, "`{}` is not in the map", file.display());
        }
    }
}

/// The table of rooms: its rows begin with the name of a folder in code, with a slash.
fn rooms_of(text: &str) -> Vec<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("/` |"));
    names.map(|(name, _)| name.to_owned()).collect()
}

fn imported_rooms(source: &str) -> BTreeSet<String> {
    let word = |text: &str| text.trim().chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
    source.split("crate::").skip(1).flat_map(imports).map(word).filter(|word: &String| !word.is_empty()).collect()
}

/// What is imported from the crate by text that follows `crate::`: one path, or those of a list in braces.
fn imports(after: &str) -> Vec<&str> {
    let Some(list) = after.strip_prefix('{') else { return vec![after] };
    let (mut paths, mut begin, mut depth) = (Vec::new(), 0, 1);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && character == ',') {
            paths.push(&list[begin..at]);
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    paths
}

#[test]
fn imports_are_seen_alone_and_in_lists() {
    let source = "use crate::store::Ring;\nuse crate::{\n    http::{AppState, router},\n    wire,\n};\nlet x = 1;";
    assert_eq!(imported_rooms(source), ["http", "store", "wire"].map(str::to_owned).into());
}

async fn openapi() -> Value {
    let (_keep, shutdown) = tokio::sync::watch::channel(false);
    let state = AppState::new(Arc::new(Nobody), "127.0.0.1:7070".parse().unwrap(), shutdown);
    let request = Request::get("/openapi.json").header("Host", "localhost:7070").body(Body::empty()).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
}

/// The paths of all addresses on the daemon's host, and those that stand in code by themselves.
fn endpoints(text: &str) -> BTreeSet<String> {
    let from_addresses = text.split("localhost:7070").skip(1);
    let from_spans =
        text.lines().flat_map(spans).filter(|span| span.starts_with("/api/") || span.starts_with("/debug/"));
    from_addresses.chain(from_spans).map(path_at).filter(|path| !path.is_empty()).collect()
}

fn path_at(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || "/._-{}".contains(*c)).collect()
}

/// The path as the API's document writes it.
fn template(path: &str) -> &str {
    let id = path.strip_prefix("/api/v1/targets/");
    if id.is_some_and(|id| id.parse::<u32>().is_ok()) { "/api/v1/targets/{id}" } else { path }
}

/// The help of every command by its name, without what it hides; under `--help` that of the program.
fn commands() -> BTreeMap<String, String> {
    let mut program = Arguments::command();
    program.build();
    let mut help = BTreeMap::from([("--help".to_owned(), program.render_long_help().to_string())]);
    for command in program.get_subcommands_mut() {
        help.insert(command.get_name().to_owned(), command.render_long_help().to_string());
    }
    help
}

fn has_flag(help: &str, flag: &str) -> bool {
    let flag = flag.split('=').next().unwrap_or(flag);
    help.split(|c: char| c.is_whitespace() || c == ',').any(|word| word == flag)
}

/// Everything that calls the daemon's program: lines after a prompt, and code in prose.
fn command_lines(text: &str) -> impl Iterator<Item = &str> {
    let prompts = text.lines().filter_map(|line| line.strip_prefix("# ").or_else(|| line.strip_prefix("$ ")));
    let spans = text.lines().flat_map(spans);
    prompts.chain(spans).filter(|line| line.starts_with("profilerd "))
}

/// Code between backticks in one line.
fn spans(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

/// The targets of links within the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|after| after.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
}

/// The anchors of all headings, as code hosts make them.
fn headings(text: &str) -> BTreeSet<String> {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let anchor = |title: &str| title.trim().to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-");
    text.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect()
}

/// Every document of the repository.
fn documents(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        files(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")).collect();
    let below = folders(folder).into_iter().filter(|path| !matches!(&*name_of(path), "target" | ".git"));
    found.extend(below.flat_map(|folder| documents(&folder)));
    found
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> =
        files(folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")).collect();
    found.extend(folders(folder).iter().flat_map(|folder| rust_files(folder)));
    found
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_file()).collect()
}

fn folders(folder: &Path) -> Vec<PathBuf> {
    entries(folder).into_iter().filter(|path| path.is_dir() && !path.is_symlink()).collect()
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// A daemon nobody asks anything: the API's document does not depend on it.
struct Nobody;

impl Daemon for Nobody {
    fn now(&self) -> Timestamp {
        unreachable!()
    }

    fn status(&self) -> Result<Status, DaemonError> {
        unreachable!()
    }

    fn processes(&self) -> Result<Vec<ProcessStatus>, DaemonError> {
        unreachable!()
    }

    fn targets(&self) -> Result<Vec<Target>, DaemonError> {
        unreachable!()
    }

    fn resolve(&self, _: &Selector) -> Result<BTreeSet<u32>, DaemonError> {
        unreachable!()
    }

    fn add_target(&self, _: Selector, _: Option<Duration>) -> Result<TargetId, DaemonError> {
        unreachable!()
    }

    fn remove_target(&self, _: TargetId) -> Result<(), DaemonError> {
        unreachable!()
    }

    fn profile(&self, _: QueryRange) -> Result<Profile, DaemonError> {
        unreachable!()
    }

    fn threads(&self, _: u32) -> Result<ProcessNow<Place>, DaemonError> {
        unreachable!()
    }

    fn lifetime_totals(&self) -> Result<Vec<(String, TaskTotals)>, DaemonError> {
        unreachable!()
    }
}
