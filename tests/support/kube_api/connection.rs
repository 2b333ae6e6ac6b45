//! One connection to the fake API server: one request, one answer.

use super::{Event, Mood, Shared, State};
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

/// So long a watch may wait without looking whether its client is there.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub fn serve(mut stream: impl Read + Write, shared: &Shared) -> io::Result<()> {
    // Nothing comes behind the head.
    let mut reader = BufReader::new(&mut stream);
    let (mut first, mut authorization) = (String::new(), None);
    reader.read_line(&mut first)?;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        if let Some((name, value)) = header.trim_end().split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            authorization = Some(value.to_string());
        }
    }
    let target = first.split(' ').nth(1).unwrap_or_default().to_string();
    let mood = {
        let mut state = shared.lock();
        state.requests.push(target.clone());
        state.mood.clone()
    };
    match mood {
        Mood::Down => return Ok(()),
        Mood::Refusing(status) => return refuse(&mut stream, status, "as the test wants it"),
        Mood::Garbage => return answer(&mut stream, 200, b"<html>this is no API</html>\n"),
        Mood::Well | Mood::Slow => {}
    }
    let wanted = shared.lock().token.as_ref().map(|token| format!("Bearer {token}"));
    if wanted.is_some() && wanted != authorization {
        return refuse(&mut stream, 401, "Unauthorized");
    }
    let query = Query::of(&target);
    let Some(scope) = scope(&query.path) else { return refuse(&mut stream, 404, "the server could not find it") };
    if query.get("watch") == "1" {
        return watch(&mut stream, shared, &query, &scope);
    }
    let (status, body) = list(&shared.lock(), &query, &scope);
    if mood == Mood::Slow {
        return answer_slowly(&mut stream, &body);
    }
    answer(&mut stream, status, &body)
}

/// What a path is about.
struct Scope {
    nodes: bool,
    namespace: Option<String>,
}

fn scope(path: &str) -> Option<Scope> {
    match path {
        "/api/v1/pods" => Some(Scope { nodes: false, namespace: None }),
        "/api/v1/nodes" => Some(Scope { nodes: true, namespace: None }),
        _ => {
            let namespace = path.strip_prefix("/api/v1/namespaces/")?.strip_suffix("/pods")?;
            Some(Scope { nodes: false, namespace: Some(namespace.to_string()) })
        }
    }
}

struct Query {
    path: String,
    parameters: Vec<(String, String)>,
}

impl Query {
    fn of(target: &str) -> Query {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let parameters = pairs.map(|(name, value)| (name.to_string(), decode(value))).collect();
        Query { path: path.to_string(), parameters }
    }

    fn get(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Whether the selectors choose an object.
    fn chooses(&self, object: &Value, scope: &Scope) -> bool {
        let metadata = &object["metadata"];
        let field = |name: &str| match name {
            "spec.nodeName" => object["spec"]["nodeName"].clone(),
            "metadata.name" => metadata["name"].clone(),
            "status.phase" => object["status"]["phase"].clone(),
            other => panic!("no field {other}"),
        };
        let holds = |selector: &str, value: &dyn Fn(&str) -> Value| {
            selector.split(',').filter(|part| !part.is_empty()).all(|part| {
                let (name, wanted) = part.split_once('=').unwrap_or_else(|| panic!("selector {part}"));
                value(name) == wanted
            })
        };
        scope.namespace.as_ref().is_none_or(|namespace| metadata["namespace"] == namespace.as_str())
            && holds(self.get("fieldSelector"), &field)
            && holds(self.get("labelSelector"), &|name| metadata["labels"][name].clone())
    }
}

fn decode(text: &str) -> String {
    let (mut bytes, mut from) = (Vec::new(), text.bytes());
    while let Some(byte) = from.next() {
        match byte {
            b'%' => {
                let mut digit = || char::from(from.next().expect("a digit")).to_digit(16).expect("hexadecimal");
                bytes.push((digit() * 16 + digit()) as u8);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("a parameter in UTF-8")
}

fn list(state: &State, query: &Query, scope: &Scope) -> (u16, Vec<u8>) {
    let all = if scope.nodes { &state.nodes } else { &state.pods };
    let items: Vec<&Value> = all.values().filter(|object| query.chooses(object, scope)).collect();
    let limit = query.get("limit").parse().unwrap_or(usize::MAX).min(state.page_max.unwrap_or(usize::MAX));
    // A token is `VERSION.FROM`.
    let (version, from) = match query.get("continue").split_once('.') {
        Some((version, from)) => (version.parse().expect("a version"), from.parse().expect("a number")),
        None => (state.version, 0),
    };
    if version < state.oldest {
        return (410, status(410, "The provided continue parameter is too old"));
    }
    let until = items.len().min(from + limit);
    let token = if until < items.len() { format!("{version}.{until}") } else { String::new() };
    let body = json!({
        "kind": "List", "apiVersion": "v1",
        "metadata": {"resourceVersion": version.to_string(), "continue": token},
        "items": items[from.min(until)..until],
    });
    (200, body.to_string().into_bytes())
}

/// Lines in chunks, until the client goes, a test ends it, or the end of the world.
fn watch(stream: &mut impl Write, shared: &Shared, query: &Query, scope: &Scope) -> io::Result<()> {
    let mut state = shared.lock();
    let mut version: u64 = query.get("resourceVersion").parse().expect("a version");
    let (resets, ends) = (state.resets, state.ends);
    let mut lines = Vec::new();
    if version < state.oldest {
        if !state.gone_in_line {
            let body = status(410, "too old resource version");
            drop(state);
            return answer(stream, 410, &body);
        }
        let error: Value = serde_json::from_slice(&status(410, "too old resource version")).expect("JSON");
        lines.push(json!({"type": "ERROR", "object": error}));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
    loop {
        let news = state.events.iter().filter(|event| event.version > version && event.of_nodes == scope.nodes);
        let news: Vec<Event> = news.cloned().collect();
        version = state.version;
        let (reset, end) = (state.resets != resets, state.ends != ends);
        drop(state);
        let wanted = |event: &&Event| event.kind == "BOOKMARK" || query.chooses(&event.object, scope);
        lines.extend(news.iter().filter(wanted).map(|event| json!({"type": event.kind, "object": event.object})));
        for line in lines.drain(..) {
            // A line may come in several pieces.
            let line = format!("{line}\n");
            let (first, second) = line.split_at(line.len() / 2);
            for piece in [first, second] {
                stream.write_all(format!("{:x}\r\n{piece}\r\n", piece.len()).as_bytes())?;
            }
        }
        if reset {
            return stream.write_all(b"ff\r\n{\"type\":\"ADD");
        }
        if end {
            return stream.write_all(b"0\r\n\r\n");
        }
        state = shared.lock();
        if state.version == version {
            state = shared.changed.wait_timeout(state, LOOK_EVERY).expect("no panic").0;
        }
    }
}

fn status(code: u16, message: &str) -> Vec<u8> {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code})
        .to_string()
        .into_bytes()
}

fn refuse(stream: &mut impl Write, code: u16, message: &str) -> io::Result<()> {
    answer(stream, code, &status(code, message))
}

fn answer(stream: &mut impl Write, status: u16, body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 {status} Status\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len())?;
    stream.write_all(body)
}

fn answer_slowly(stream: &mut impl Write, body: &[u8]) -> io::Result<()> {
    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len())?;
    for byte in body {
        stream.write_all(&[*byte])?;
        std::thread::yield_now();
    }
    Ok(())
}
