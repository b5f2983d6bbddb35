//! One HTTP request at a time over a plain socket: what `curl` would send.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text, bad bytes replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("failed to parse JSON `{}`", self.text()))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Sends one request and reads the whole answer. `accept` is the value of that header, if any.
pub fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    accept: Option<&str>,
    body: Option<&Value>,
) -> Result<Response> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request_text(address, method, path, accept, body).as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).with_context(|| format!("failed to read the answer to {method} {path}"))?;
    parse_response(&bytes).with_context(|| format!("{method} {path}"))
}

fn request_text(address: SocketAddr, method: &str, path: &str, accept: Option<&str>, body: Option<&Value>) -> String {
    let mut text = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some(accept) = accept {
        text += &format!("Accept: {accept}\r\n");
    }
    let body = body.map(Value::to_string);
    if let Some(body) = &body {
        text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
    }
    text + "\r\n" + &body.unwrap_or_default()
}

fn parse_response(bytes: &[u8]) -> Result<Response> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").context("the answer has no end of headers")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("the answer has no status")?;
    let headers: Vec<_> = lines.filter_map(parse_header).collect();
    let mut response = Response { status: status.parse()?, headers, body: bytes[end + 4..].to_vec() };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = join_chunks(&response.body)?;
    } else if let Some(length) = response.header("content-length") {
        ensure!(length.parse::<usize>()? == response.body.len(), "the body is cut short");
    }
    Ok(response)
}

fn parse_header(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn join_chunks(mut bytes: &[u8]) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").context("a chunk has no length")?;
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..end])?.trim(), 16)?;
        let Some(chunk) = bytes.get(end + 2..end + 2 + length) else { bail!("a chunk is cut short") };
        if length == 0 {
            return Ok(body);
        }
        body.extend_from_slice(chunk);
        bytes = &bytes[(end + 4 + length).min(bytes.len())..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_chunks_is_joined() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n2\r\nef\r\n0\r\n\r\n";
        assert_eq!(parse_response(answer).unwrap().text(), "abcdef");
    }

    #[test]
    fn a_body_shorter_than_announced_is_an_error() {
        assert!(parse_response(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc").is_err());
    }
}
