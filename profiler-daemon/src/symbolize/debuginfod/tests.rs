//! Servers in this process that serve, lie, hang and break off.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::super::Symbolizer;
use super::super::programs::{Program, assert_lines, assert_stripped};
use super::*;
use crate::sys::private_directory::counted_bytes;

const BOUNDS: DownloadBounds = DownloadBounds {
    connect: Duration::from_secs(5),
    answer: Duration::from_millis(300),
    whole: Duration::from_secs(1),
    retry: Duration::from_millis(1),
    file_bytes: 1 << 20,
};
/// The longest that a test waits for something that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a server answers the n-th request, from zero, if `content` is what it has.
type Behaviour = fn(number: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()>;

/// A server on a thread of its own, which outlives the test.
struct Server {
    url: ServerUrl,
    /// The paths it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(content: Vec<u8>, behave: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = ServerUrl::parse("x", &format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let path = read_request(&stream);
                let number = log.lock().unwrap().len();
                log.lock().unwrap().push(path);
                // Whoever asked may have hung up.
                let _ = behave(number, &content, &mut stream);
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn read_request(stream: &TcpStream) -> String {
    let mut lines = BufReader::new(stream).lines().map(|line| line.unwrap_or_default());
    let first = lines.next().unwrap_or_default();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn head(to: &mut TcpStream, status: &str, length: usize) -> io::Result<()> {
    write!(to, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
}

fn serve(_: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()> {
    head(to, "200 OK", content.len())?;
    to.write_all(content)
}

fn missing(_: usize, _: &[u8], to: &mut TcpStream) -> io::Result<()> {
    head(to, "404 Not Found", 0)
}

fn broken(_: usize, _: &[u8], to: &mut TcpStream) -> io::Result<()> {
    head(to, "502 Bad Gateway", 0)
}

fn broken_twice(number: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()> {
    if number < 2 { broken(number, content, to) } else { serve(number, content, to) }
}

fn redirected_once(number: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()> {
    if number > 0 { serve(number, content, to) } else { redirected(number, content, to) }
}

fn redirected(_: usize, _: &[u8], to: &mut TcpStream) -> io::Result<()> {
    write!(to, "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")
}

/// Says nothing until whoever asked hangs up.
fn silent(_: usize, _: &[u8], to: &mut TcpStream) -> io::Result<()> {
    io::copy(to, &mut io::sink()).map(drop)
}

/// The first half at once, and the rest never.
fn stuck(number: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()> {
    cut_short(number, content, to)?;
    silent(number, content, to)
}

fn cut_short(_: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()> {
    head(to, "200 OK", content.len())?;
    to.write_all(&content[..content.len() / 2])
}

fn endless(_: usize, _: &[u8], to: &mut TcpStream) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
    loop {
        to.write_all(&[0x7f; 4096])?;
    }
}

/// The smallest file of debug information for a build id of equal bytes.
fn debug_file(byte: u8) -> Vec<u8> {
    let notes = [&[4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0][..], b"GNU\0", &[byte; 20]].concat();
    let names = b"\0.note.gnu.build-id\0.symtab\0.shstrtab\0";
    let mut file = [&b"\x7fELF\x02\x01"[..], &[0; 58], &notes, names, &[0; 24]].concat();
    let table = file.len();
    let section = |name: u32, kind: u32, offset: usize, size: usize| {
        let mut raw = [0; 64];
        raw[..4].copy_from_slice(&name.to_le_bytes());
        raw[4..8].copy_from_slice(&kind.to_le_bytes());
        raw[24..32].copy_from_slice(&(offset as u64).to_le_bytes());
        raw[32..40].copy_from_slice(&(size as u64).to_le_bytes());
        raw
    };
    let names_at = 64 + notes.len();
    for raw in [
        section(0, 0, 0, 0),
        section(1, 7, 64, notes.len()),
        section(20, 2, names_at + names.len(), 24),
        section(28, 3, names_at, names.len()),
    ] {
        file.extend(raw);
    }
    file[40..48].copy_from_slice(&(table as u64).to_le_bytes());
    for (at, number) in [(54, 56u16), (58, 64), (60, 4), (62, 3)] {
        file[at..at + 2].copy_from_slice(&number.to_le_bytes());
    }
    file
}

fn id_of(content: &[u8]) -> BuildId {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    Elf::read(&file).unwrap().read_build_id(&file).unwrap()
}

fn client(servers: &[&Server]) -> Client {
    let urls: Vec<_> = servers.iter().map(|server| server.url.clone()).collect();
    Client::new(&urls, BOUNDS)
}

fn private(directory: &TempDir) -> PrivateDirectory {
    PrivateDirectory::open(directory.path()).unwrap()
}

fn start(servers: &[&Server], directory: &TempDir) -> Debuginfod {
    Debuginfod::start_with(client(servers), &private(directory), 1 << 30).unwrap()
}

fn files_in(directory: &TempDir) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(directory.path().join("debuginfo")).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_program_is_named_by_lines_once_its_debug_information_arrived_and_in_every_later_run() {
    let Some(program) = Program::build_cpp(&["-g", "-O1", "-Wl,--build-id"]) else { return };
    if !program.run_tool("objcopy", ["--only-keep-debug", "shop", "gone"]) || !program.run_tool("strip", ["shop"]) {
        return;
    }
    let content = fs::read(program.path("gone")).unwrap();
    let id = id_of(&content);
    fs::remove_file(program.path("gone")).unwrap();
    let (directory, server) = (tempfile::tempdir().unwrap(), Server::start(content, serve));
    let (running, mut symbolizer) =
        (program.run(), Symbolizer::with_sources(Arc::default(), Some(start(&[&server], &directory))));
    assert_stripped(&running.frames(&mut symbolizer), "the first window does not wait");
    let asked = Instant::now();
    while running.frames(&mut symbolizer)[0][0].line.is_none() {
        assert!(asked.elapsed() < PATIENCE, "the debug information never arrived");
        thread::yield_now();
    }
    assert_lines(&running.frames(&mut symbolizer), "later");
    let path = format!("/buildid/{}/debuginfo", id.as_str());
    assert_eq!(server.asked().iter().filter(|asked| **asked == path).count(), 1);
    let nobody = Server::start(Vec::new(), broken);
    let mut next_run = Symbolizer::with_sources(Arc::default(), Some(start(&[&nobody], &directory)));
    assert_lines(&running.frames(&mut next_run), "what was kept needs no server");
}

#[test]
fn what_a_server_does_decides_whether_a_file_is_kept_or_missing_or_asked_for_again() {
    let (good, other) = (debug_file(1), debug_file(2));
    let failed = Answer::Failed(String::new());
    for (name, content, behave, expected) in [
        ("serves", &good, serve as Behaviour, Answer::Kept),
        ("leads elsewhere", &good, redirected_once, Answer::Kept),
        ("leads nowhere", &good, redirected, failed),
        ("has none", &good, missing, Answer::Missing),
        ("serves another build id", &other, serve, Answer::Missing),
        ("serves no file", &b"<html>".to_vec(), serve, Answer::Missing),
        ("serves nothing", &Vec::new(), serve, Answer::Missing),
        ("never ends", &good, endless, Answer::Missing),
        ("is broken", &good, broken, Answer::Failed(String::new())),
        ("is silent", &good, silent, Answer::Failed(String::new())),
        ("stops in the middle", &good, stuck, Answer::Failed(String::new())),
        ("hangs up in the middle", &good, cut_short, Answer::Failed(String::new())),
    ] {
        let (directory, server) = (tempfile::tempdir().unwrap(), Server::start(content.clone(), behave));
        let store = Store::open(&private(&directory), 1 << 30).unwrap();
        let begun = Instant::now();
        let answer = match client(&[&server]).fetch(&id_of(&good), &store) {
            Answer::Failed(_) => Answer::Failed(String::new()),
            answer => answer,
        };
        assert_eq!(answer, expected, "{name}");
        assert!(begun.elapsed() < 10 * BOUNDS.whole, "{name}");
        assert_eq!(files_in(&directory).len(), usize::from(answer == Answer::Kept), "{name}");
        assert_eq!(store.find(&id_of(&good)).is_some(), answer == Answer::Kept, "{name}");
    }
}

#[test]
fn a_server_that_fails_does_not_keep_the_next_one_from_being_asked() {
    let content = debug_file(1);
    let servers = [silent, missing, broken, serve].map(|behave| Server::start(content.clone(), behave));
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&private(&directory), 1 << 30).unwrap();
    assert_eq!(client(&servers.each_ref()).fetch(&id_of(&content), &store), Answer::Kept);
}

#[test]
fn a_server_that_nobody_runs_is_a_failure() {
    let url = Server::start(Vec::new(), broken).url;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = ServerUrl::parse("x", &format!("http://{free}")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&private(&directory), 1 << 30).unwrap();
    let answer = Client::new(&[gone, url], BOUNDS).fetch(&id_of(&debug_file(1)), &store);
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
}

#[test]
fn what_fails_is_tried_again_and_what_is_missing_is_not() {
    let content = debug_file(1);
    let (directory, id) = (tempfile::tempdir().unwrap(), id_of(&content));
    let server = Server::start(content, broken_twice);
    let mut debuginfod = start(&[&server], &directory);
    assert!(debuginfod.find_or_ask(&id).is_none() && debuginfod.find_or_ask(&id).is_none());
    assert_eq!(debuginfod.arrived.recv_timeout(PATIENCE).unwrap(), id);
    assert!(debuginfod.find_or_ask(&id).is_some());
    assert_eq!(server.asked().len(), 3);

    let (directory, server) = (tempfile::tempdir().unwrap(), Server::start(debug_file(3), missing_first));
    let mut debuginfod = start(&[&server], &directory);
    let (absent, present) = (id_of(&debug_file(2)), id_of(&debug_file(3)));
    for id in [&absent, &absent, &present, &absent] {
        assert!(debuginfod.find_or_ask(id).is_none());
    }
    assert_eq!(debuginfod.arrived.recv_timeout(PATIENCE).unwrap(), present);
    assert!(debuginfod.find_or_ask(&absent).is_none());
    assert_eq!(server.asked().len(), 2);
}

fn missing_first(number: usize, content: &[u8], to: &mut TcpStream) -> io::Result<()> {
    if number == 0 { missing(number, content, to) } else { serve(number, content, to) }
}

#[test]
fn a_server_that_always_fails_is_given_up() {
    let (content, directory) = (debug_file(1), tempfile::tempdir().unwrap());
    let server = Server::start(content.clone(), broken);
    let store = Store::open(&private(&directory), 1 << 30).unwrap();
    let (to_tell, arrived) = mpsc::channel();
    let mut fetcher = Fetcher { client: client(&[&server]), store, to_tell, later: Vec::new(), told: None };
    fetcher.fetch(id_of(&content), 0);
    while let Some(retry) = fetcher.later.pop() {
        fetcher.fetch(retry.id, retry.tried);
    }
    assert_eq!(server.asked().len(), limits::DOWNLOAD_TRIES as usize);
    assert!(arrived.try_recv().is_err());
}

#[test]
fn a_kept_file_that_became_another_is_not_believed() {
    let (content, directory) = (debug_file(1), tempfile::tempdir().unwrap());
    let (id, server) = (id_of(&content), Server::start(content.clone(), serve));
    let store = Store::open(&private(&directory), 1 << 30).unwrap();
    assert_eq!(client(&[&server]).fetch(&id, &store), Answer::Kept);
    assert!(store.find(&id).is_some());
    let kept = files_in(&directory).remove(0);
    File::options().write(true).open(&kept).unwrap().write_all_at(&debug_file(2), 0).unwrap();
    assert!(store.find(&id).is_none() && !kept.exists());
}

#[test]
fn the_files_used_last_stay_within_the_limit() {
    let directory = tempfile::tempdir().unwrap();
    let size = counted_bytes(debug_file(1).len() as u64);
    let store = Store::open(&private(&directory), 2 * size).unwrap();
    for byte in 1..=5 {
        let content = debug_file(byte);
        store.keep(&id_of(&content), |file| file.write_all(&content)).unwrap();
    }
    assert_eq!(files_in(&directory).len(), 2);
    assert!(store.find(&id_of(&debug_file(5))).is_some());
}
