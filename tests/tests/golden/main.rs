//! Every format and every report on a few canonical profiles, compared with files under `goldens`.
//!
//! `BLESS=1 cargo test -p profiler-tests --test golden` writes the files anew; read the difference before committing it.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use profiler_daemon::export::pprof::proto;
use profiler_daemon::export::{ExportOptions, FORMATS, export, format_by_name};
use profiler_daemon::profile::Profile;
use profiler_daemon::report::hotspots::Columns;
use profiler_daemon::report::{
    AttributionRule, BreakdownQuery, Filter, HotspotQuery, RowKind, breakdown, calibrate, hotspots,
};
use prost::Message;

mod profiles;

/// Compares with a golden file, or writes it under `BLESS`.
fn compare(name: &str, actual: &str) -> Result<(), String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, actual).unwrap();
        return Ok(());
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if actual == expected { Ok(()) } else { Err(format!("--- {name}, expected\n{expected}\n--- actual\n{actual}")) }
}

fn fail_on(differences: Vec<String>) {
    assert!(differences.is_empty(), "{}\nBLESS=1 accepts all of this", differences.join("\n"));
}

fn exported(profile: &Profile, format: &str, options: &ExportOptions) -> Vec<u8> {
    let (format, mut bytes) = (format_by_name(format).unwrap(), Vec::new());
    export(profile, &Filter::default(), format, options, &mut bytes).unwrap();
    bytes
}

fn decoded(profile: &Profile) -> proto::Profile {
    let compressed = exported(profile, "pprof", &ExportOptions::default());
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut bytes).unwrap();
    proto::Profile::decode(bytes.as_slice()).unwrap()
}

/// What is compared of a format's output: text as it is, pprof as text, of pictures all but the script.
fn readable(format: &str, profile: &Profile) -> String {
    let bytes = exported(profile, format, &ExportOptions { threads: true, ..ExportOptions::default() });
    match format {
        "pprof" => pprof_text(&decoded(profile)),
        "svg" => without_script(&String::from_utf8(bytes).unwrap()),
        "speedscope" => {
            let json: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            serde_json::to_string_pretty(&json).unwrap() + "\n"
        }
        _ => String::from_utf8(bytes).unwrap(),
    }
}

fn without_script(svg: &str) -> String {
    match (svg.find("<script"), svg.find("</script>")) {
        (Some(from), Some(to)) => format!("{}{}", &svg[..from], &svg[to + "</script>".len()..]),
        _ => svg.to_owned(),
    }
}

fn pprof_text(profile: &proto::Profile) -> String {
    let text = |at: i64| &profile.string_table[at as usize];
    let function = |id: u64| text(profile.function.iter().find(|function| function.id == id).unwrap().name);
    let location = |id: &u64| {
        let location = profile.location.iter().find(|location| location.id == *id).unwrap();
        let lines = location.line.iter().map(|line| format!("{:?}:{}", function(line.function_id), line.line));
        format!("{:#x} {}", location.address, lines.collect::<Vec<_>>().join(" in "))
    };
    let label = |label: &proto::Label| match label.str {
        0 => format!("{}={}", text(label.key), label.num),
        str => format!("{}={:?}", text(label.key), text(str)),
    };
    let mut lines = vec![
        format!("types {:?}", profile.sample_type.iter().map(|kind| text(kind.r#type)).collect::<Vec<_>>()),
        format!("time {} duration {} period {}", profile.time_nanos, profile.duration_nanos, profile.period),
        format!("mappings {:?}", profile.mapping.iter().map(|mapping| text(mapping.filename)).collect::<Vec<_>>()),
    ];
    for sample in &profile.sample {
        lines.push(format!("{:?} {}", sample.value, sample.label.iter().map(label).collect::<Vec<_>>().join(" ")));
        lines.extend(sample.location_id.iter().map(|id| format!("    {}", location(id))));
    }
    lines.join("\n") + "\n"
}

#[test]
fn every_format_writes_every_canonical_profile_as_before() {
    let mut differences = Vec::new();
    for (name, profile) in profiles::all() {
        for format in FORMATS {
            let file = format!("{name}.{}.txt", format.name);
            differences.extend(compare(&file, &readable(format.name, &profile)).err());
        }
    }
    fail_on(differences);
}

#[test]
fn every_report_prints_every_canonical_profile_as_before() {
    let deep = AttributionRule { native: true, kernel: true, libc: true };
    let queries = [
        ("function", HotspotQuery::default()),
        ("line", HotspotQuery { by: RowKind::Line, ..HotspotQuery::default() }),
        ("deep", HotspotQuery { rule: deep, ..HotspotQuery::default() }),
        ("inclusive", HotspotQuery { inclusive: true, ..HotspotQuery::default() }),
        ("thread", HotspotQuery { by: RowKind::Thread, limit: Some(5), ..HotspotQuery::default() }),
        ("wait", HotspotQuery { by: RowKind::Wait, ..HotspotQuery::default() }),
        ("scalene", HotspotQuery { by: RowKind::Line, columns: Columns::Scalene, ..HotspotQuery::default() }),
    ];
    let mut differences = Vec::new();
    for (name, profile) in profiles::all() {
        let mut text = breakdown(&profile, &BreakdownQuery::default()).text();
        for (title, query) in &queries {
            text += &format!("\n=== hotspots: {title}\n{}", hotspots(&profile, query).text());
        }
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        differences.extend(compare(&format!("{name}.reports.txt"), &text).err());
    }
    fail_on(differences);
}

#[test]
fn what_is_told_to_be_attributed_is_part_of_the_time_listed() {
    let (_, profile) = profiles::all().into_iter().find(|(name, _)| *name == "loop").unwrap();
    let attributed = |by, path: Option<&str>| {
        let filter = Filter { path: path.map(|path| path.parse().unwrap()), ..Filter::default() };
        let answer = hotspots(&profile, &HotspotQuery { by, filter, ..HotspotQuery::default() });
        let listed: u64 = answer.rows.iter().map(|row| row.attributed_ns).sum();
        assert_eq!(answer.awaits.map_or(0, |awaits| awaits.attributed_ns), listed, "{path:?}");
        listed
    };
    for by in [RowKind::Function, RowKind::Wait] {
        let all = attributed(by, None);
        assert!(all > 0 && attributed(by, Some("/srv/api/cache.py")) == all);
        assert_eq!(attributed(by, Some("/srv/api/io.py")), 0);
    }
}

#[test]
fn every_format_sums_up_to_the_nanosecond_to_the_time_selected() {
    for (name, profile) in profiles::all() {
        let selected = calibrate(&profile).select(&Filter::default());
        let total: u64 = selected.entries.iter().map(|entry| entry.ns).sum();
        let exact: u64 = profile.totals.iter().map(|totals| totals.wall_ns()).sum();
        assert_eq!(total + selected.idle_hidden_ns, exact, "{name}");
        let folded = String::from_utf8(exported(&profile, "folded", &ExportOptions::default())).unwrap();
        assert_eq!(folded_total(&folded), total, "{name}");
        let wall: i64 = decoded(&profile).sample.iter().map(|sample| sample.value[4]).sum();
        assert_eq!(wall, total as i64, "{name}");
        let speedscope: serde_json::Value =
            serde_json::from_slice(&exported(&profile, "speedscope", &ExportOptions::default())).unwrap();
        let ends = speedscope["profiles"].as_array().unwrap().iter().map(|thread| thread["endValue"].as_u64().unwrap());
        assert_eq!(ends.sum::<u64>(), total, "{name}");
    }
}

fn folded_total(folded: &str) -> u64 {
    folded.lines().map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[test]
fn folded_output_passes_through_inferno_without_losing_a_line_or_a_nanosecond() {
    for (name, profile) in profiles::all().into_iter().filter(|(name, _)| *name != "empty") {
        let folded = String::from_utf8(exported(&profile, "folded", &ExportOptions::default())).unwrap();
        let mut options = inferno::flamegraph::Options::default();
        options.count_name = "ns".to_owned();
        let mut svg = Vec::new();
        inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut svg).unwrap();
        let svg = String::from_utf8(svg).unwrap();
        assert!(svg.contains(&format!("total_samples=\"{}\"", folded_total(&folded))), "{name}");
    }
}

#[test]
fn pprof_output_keeps_the_invariants_of_the_format() {
    for (name, profile) in profiles::all() {
        check_invariants(name, &decoded(&profile));
    }
}

fn check_invariants(name: &str, profile: &proto::Profile) {
    assert_eq!(profile.string_table[0], "", "{name}");
    let text = |at: i64| assert!((0..profile.string_table.len() as i64).contains(&at), "{name}: string {at}");
    let unique = |ids: Vec<u64>| {
        let known: BTreeMap<u64, ()> = ids.iter().map(|id| (*id, ())).collect();
        assert!(known.len() == ids.len() && !known.contains_key(&0), "{name}: {ids:?}");
        known
    };
    let mappings = unique(profile.mapping.iter().map(|mapping| mapping.id).collect());
    let functions = unique(profile.function.iter().map(|function| function.id).collect());
    let locations = unique(profile.location.iter().map(|location| location.id).collect());
    for mapping in &profile.mapping {
        text(mapping.filename);
        assert!(
            mapping.has_functions && mapping.has_filenames && mapping.has_line_numbers && mapping.has_inline_frames
        );
    }
    for function in &profile.function {
        [function.name, function.system_name, function.filename].into_iter().for_each(text);
    }
    for location in &profile.location {
        assert!(location.mapping_id == 0 || mappings.contains_key(&location.mapping_id), "{name}");
        assert!(
            !location.line.is_empty() && location.line.iter().all(|line| functions.contains_key(&line.function_id))
        );
    }
    for sample in &profile.sample {
        assert_eq!(sample.value.len(), profile.sample_type.len(), "{name}");
        assert!(!sample.location_id.is_empty() && sample.location_id.iter().all(|id| locations.contains_key(id)));
        assert_eq!(sample.value[4], sample.value[1] + sample.value[2] + sample.value[3], "{name}");
        sample.label.iter().for_each(|label| [label.key, label.str].into_iter().for_each(text));
    }
    assert_eq!(profile.string_table[profile.default_sample_type as usize], "cpu");
    assert!(profile.period > 0 && profile.period_type.is_some() && profile.duration_nanos > 0);
}

#[test]
fn an_inlined_function_is_a_line_of_its_callers_location() {
    let (_, native) = profiles::all().into_iter().find(|(name, _)| *name == "native").unwrap();
    let profile = decoded(&native);
    let location = profile.location.iter().find(|location| location.line.len() == 2).unwrap();
    let name = |at: usize| {
        let id = location.line[at].function_id;
        let function = profile.function.iter().find(|function| function.id == id).unwrap();
        profile.string_table[function.name as usize].as_str()
    };
    assert_eq!((name(0), name(1)), ("matrix::dot", "matrix::step"));
}

#[test]
fn speedscope_output_is_valid_by_its_published_schema() {
    let schema: serde_json::Value = serde_json::from_str(include_str!("../../schemas/speedscope.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (name, profile) in profiles::all() {
        for lines in [false, true] {
            let options = ExportOptions { lines, ..ExportOptions::default() };
            let json: serde_json::Value = serde_json::from_slice(&exported(&profile, "speedscope", &options)).unwrap();
            let errors: Vec<String> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{name}: {errors:?}");
            check_speedscope(&json);
        }
    }
    let mut broken: serde_json::Value =
        serde_json::from_str(r#"{"shared":{"frames":[]},"profiles":[{"type":"x"}]}"#).unwrap();
    broken["$schema"] = "https://www.speedscope.app/file-format-schema.json".into();
    assert!(!validator.is_valid(&broken), "the schema must be able to refuse something");
}

fn check_speedscope(json: &serde_json::Value) {
    let frames = json["shared"]["frames"].as_array().unwrap().len() as u64;
    for profile in json["profiles"].as_array().unwrap() {
        let (samples, weights) = (profile["samples"].as_array().unwrap(), profile["weights"].as_array().unwrap());
        assert_eq!(samples.len(), weights.len());
        assert!(samples.iter().flat_map(|stack| stack.as_array().unwrap()).all(|at| at.as_u64().unwrap() < frames));
    }
}

#[test]
fn a_flame_graph_of_hostile_names_is_still_well_formed() {
    for (name, profile) in profiles::all() {
        let svg = String::from_utf8(exported(&profile, "svg", &ExportOptions::default())).unwrap();
        assert_eq!(svg.matches("<script").count(), svg.matches("</script>").count(), "{name}");
        assert!(svg.matches("<script").count() <= 1, "{name}");
        assert!(!svg.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t' | '\r')), "{name}");
        assert!(!without_script(&svg).contains("alert(1)</script>"), "{name}");
    }
}
