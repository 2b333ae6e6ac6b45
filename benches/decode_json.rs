//! What it costs to pick the fields of an access line: instructions a line, counted by callgrind, and time beside memchr
//! cutting the same lines in the same run.
//!
//! `cargo bench --bench decode_json`. Instructions are (3 passes - 1 pass) / lines, so that what is done once does not
//! count. Without valgrind only the times are printed.

use std::hint::black_box;
use std::process::Command;

use rustix::time::{ClockId, clock_gettime};
use weir::decode::cri;
use weir::decode::json::{Field, LearningPicker, Mode, Picker};

const LINES: usize = 5_000;
/// One line in so many has an escape in a string.
const ESCAPED: u64 = 100;
const ROUNDS: usize = 15;
const PASSES: usize = 4;
const WANTED: [&str; 12] = [
    "status",
    "method",
    "remote_address",
    "ingress_namespace",
    "ingress_name",
    "service_name",
    "request_length",
    "body_bytes_sent",
    "request_time",
    "upstream_response_time",
    "host",
    "path",
];

/// One pass over all lines; the sum keeps the compiler from leaving anything out.
type Pass = Box<dyn FnMut(&[u8]) -> usize>;

/// A name, what the lines look like, and what is done with them.
type Case = (&'static str, Layout, fn() -> Pass);

const CASES: [Case; 9] = [
    ("newlines", Layout::One, || Box::new(|text| lines(text).map(<[u8]>::len).sum())),
    ("cri", Layout::One, || Box::new(|text| contents(text).map(<[u8]>::len).sum())),
    ("general, lenient", Layout::One, || general(Mode::Lenient)),
    ("general, strict", Layout::One, || general(Mode::Strict)),
    ("learned, lenient", Layout::One, || learned(Mode::Lenient)),
    ("learned, strict", Layout::One, || learned(Mode::Strict)),
    ("learned, two orders", Layout::Two, || learned(Mode::Lenient)),
    ("general, any order", Layout::Any, || general(Mode::Lenient)),
    ("learned, any order", Layout::Any, || learned(Mode::Lenient)),
];

fn general(mode: Mode) -> Pass {
    let picker = Picker::new(&WANTED.map(|key| vec![key.to_owned()]));
    Box::new(move |text| {
        let mut fields = [Field::Missing; WANTED.len()];
        let mut sum = 0;
        for line in contents(text) {
            assert!(picker.pick(line, mode, &mut fields).is_ok());
            sum += weight(&fields);
        }
        sum
    })
}

fn learned(mode: Mode) -> Pass {
    let mut picker = LearningPicker::new(&WANTED.map(|key| vec![key.to_owned()]), mode);
    Box::new(move |text| {
        let mut sum = 0;
        for line in contents(text) {
            let found = picker.pick(line).expect("an access line");
            assert_eq!(found.paths(), (1 << WANTED.len()) - 1);
            let [status, path] = [0, WANTED.len() - 1].map(|path| found.span(path));
            sum += status.end - status.start + path.end - path.start;
        }
        sum
    })
}

fn weight(fields: &[Field<'_>]) -> usize {
    match (fields[0], fields[WANTED.len() - 1]) {
        (Field::Number(status), Field::Text { raw, .. }) => status.len() + raw.len(),
        other => panic!("{other:?}"),
    }
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', text).map(move |end| &text[std::mem::replace(&mut start, end + 1)..end])
}

fn contents(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(text).filter_map(|line| Some(cri::parse(line)?.content))
}

fn main() {
    // Under callgrind: one case, so many passes.
    if let [_, name, passes] = &std::env::args().collect::<Vec<_>>()[..] {
        let (_, layout, start) = CASES.into_iter().find(|(known, ..)| known == name).expect("a case");
        let (text, mut pass) = (generate(layout), start());
        (0..passes.parse().expect("a number")).for_each(|_| _ = black_box(pass(&text)));
        return;
    }
    let mut runs = CASES.map(|(_, layout, start)| (generate(layout), start(), Vec::new()));
    println!("{LINES} lines of {} bytes", runs[0].0.len() / LINES);
    println!("{:20} {:>10} {:>10} {:>20}", "", "ns a line", "x newlines", "instructions a line");
    for _ in 0..ROUNDS {
        for (text, pass, times) in &mut runs {
            let began = thread_nanos();
            (0..PASSES).for_each(|_| _ = black_box(pass(text)));
            times.push((thread_nanos() - began) as f64 / (PASSES * LINES) as f64);
        }
    }
    let medians = runs.map(|(_, _, mut times)| median(&mut times));
    for ((name, ..), nanos) in CASES.into_iter().zip(medians) {
        let instructions = match (instructions(name, 1), instructions(name, 3)) {
            (Some(one), Some(three)) => format!("{:.0}", (three - one) as f64 / (2 * LINES) as f64),
            _ => "-".into(),
        };
        println!("{name:20} {nanos:>10.1} {:>10.2} {instructions:>20}", nanos / medians[0]);
    }
}

/// CPU time of this thread: what others do on the machine counts less.
fn thread_nanos() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Instructions of a whole process with so many passes.
fn instructions(case: &str, passes: u32) -> Option<u64> {
    let program = std::env::current_exe().ok()?;
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([case, &passes.to_string()])
        .output()
        .ok()?;
    let report = String::from_utf8_lossy(&run.stderr).into_owned();
    let line = report.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// In which order the keys of the lines stand.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// The same in all lines.
    One,
    /// Two programs take turns.
    Two,
    /// Another one in each line.
    Any,
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    fn choose<T: Copy>(&mut self, choice: &[T]) -> T {
        choice[self.below(choice.len() as u64) as usize]
    }
}

/// Access lines as ingress-nginx writes them by a `log-format-upstream` of 25 keys, in CRI form; always the same ones.
fn generate(layout: Layout) -> Vec<u8> {
    let mut text = Vec::new();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for number in 0..LINES as u64 {
        let (second, nanos) = (number / 100 % 60, random.below(1_000_000_000));
        let mut members = members(second, &mut random);
        match layout {
            Layout::One => {}
            Layout::Two if number % 2 == 0 => {}
            Layout::Two => members[2..].reverse(),
            Layout::Any => (1..members.len()).for_each(|at| members.swap(at, random.below(at as u64 + 1) as usize)),
        }
        text.extend_from_slice(format!("2026-11-21T02:25:{second:02}.{nanos:09}Z stdout F {{").as_bytes());
        for (at, (key, value)) in members.iter().enumerate() {
            text.extend_from_slice(format!("{}\"{key}\": {value}", if at == 0 { "" } else { ", " }).as_bytes());
        }
        text.extend_from_slice(b"}\n");
    }
    text
}

fn members(second: u64, random: &mut Random) -> Vec<(&'static str, String)> {
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
        "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
        "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
        "curl/8.14.1",
    ];
    let (site, page, pod) = (random.below(40), random.below(100_000), random.below(250));
    let (method, status) =
        (random.choose(&["GET", "GET", "GET", "POST", "HEAD"]), random.choose(&[200, 200, 200, 304, 404, 502]));
    let address = match random.below(100) {
        0..3 => format!("2001:db8:{:x}:{:x}::{:x}", random.below(65_536), random.below(65_536), random.below(65_536)),
        _ => format!("{}.{}.{}.{}", 1 + random.below(223), random.below(256), random.below(256), random.below(256)),
    };
    let escape = if random.below(ESCAPED) == 0 { "\\\"" } else { "" };
    let (millis, length, sent) = (random.below(3_000), 200 + random.below(1_800), random.below(200_000));
    let (id, team) = (u128::from(random.below(u64::MAX)) << 64 | u128::from(random.below(u64::MAX)), site % 6);
    let quoted = |text: String| format!("\"{text}\"");
    vec![
        ("time", format!("\"2026-11-21T02:25:{second:02}+00:00\"")),
        ("remote_address", quoted(address.clone())),
        ("x_forwarded_for", quoted(address)),
        ("request_id", format!("\"{id:032x}\"")),
        ("remote_user", quoted(String::new())),
        ("bytes_sent", sent.to_string()),
        ("body_bytes_sent", quoted(sent.to_string())),
        ("request_time", format!("{:.3}", millis as f64 / 1e3)),
        ("status", status.to_string()),
        ("host", format!("\"site-{site}.example.net\"")),
        ("request_proto", quoted("HTTP/2.0".into())),
        ("path", format!("\"/shop/{page}/items{escape}\"")),
        ("request_query", format!("\"page={page}\"")),
        ("request_length", length.to_string()),
        ("method", quoted(method.into())),
        ("http_referrer", format!("\"https://site-{site}.example.net/{page}\"")),
        ("http_user_agent", quoted(random.choose(&AGENTS).into())),
        ("ingress_namespace", format!("\"team-{team}\"")),
        ("ingress_name", format!("\"site-{site}\"")),
        ("service_name", format!("\"site-{site}\"")),
        ("service_port", quoted("80".into())),
        ("proxy_upstream_name", format!("\"team-{team}-site-{site}-80\"")),
        ("upstream_addr", format!("\"10.42.0.{pod}:8080\"")),
        ("upstream_status", quoted(status.to_string())),
        ("upstream_response_time", format!("\"{:.3}\"", millis.saturating_sub(1) as f64 / 1e3)),
    ]
}
