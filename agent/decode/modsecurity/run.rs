//! The run of keys that describes the rule: `[file "F"] [line "N"] [id "N"] … [accuracy "N"]`.
//!
//! It has an **anchor** at its end (`"] [severity "N"] [ver "V"] [maturity "N"] [accuracy "N"]`) and a **head** at its
//! start (`[file "F"] [line "N"] [id "N"] [rev "R"] [msg "`); between them stands `msg`, which is raw. A head alone fits
//! into the 100 characters that the engine prints of a matched value, and a rule may echo it in `msg`, so neither
//! the first nor the last head in front of an anchor is the right one. The right one is the last that stands where MATCH
//! can end. A complete run doesn't fit into a value, so the first complete one is taken.
//!
//! All scans are linear: a field's end is the next quote, and the fields of two starts never overlap.

use super::{Needle, split_at};
use memchr::memmem::{Finder, FinderRev};
use memchr::{memchr, memrchr};
use std::sync::LazyLock;

static HEAD_OPENING: Needle = LazyLock::new(|| Finder::new(b"[file \""));
static SEVERITY_OPENING: Needle = LazyLock::new(|| Finder::new(b"\"] [severity \""));
static DATA_OPENING: Needle = LazyLock::new(|| Finder::new(b"\"] [data \""));
/// The last one is looked for.
static VALUE_OPENING: LazyLock<FinderRev<'static>> = LazyLock::new(|| FinderRev::new(b" (Value: `"));

/// The fields of a run, empty where the line was cut.
#[derive(Default)]
pub struct Run<'a> {
    pub matched: &'a [u8],
    pub head: Head<'a>,
    pub msg: &'a [u8],
    pub data: &'a [u8],
    pub severity: &'a [u8],
    pub ver: &'a [u8],
    pub maturity: &'a [u8],
    pub accuracy: &'a [u8],
    /// Where the tags begin in the line; `None` if the run is cut.
    pub tail_start: Option<usize>,
    /// Complete runs in the line.
    pub candidates: u32,
}

/// The fields from `[file` to `[rev`.
#[derive(Clone, Copy, Default)]
pub struct Head<'a> {
    pub file: &'a [u8],
    pub line: &'a [u8],
    pub id: &'a [u8],
    pub rev: &'a [u8],
    start: usize,
    /// Where `msg` begins in the line, if the head is complete.
    msg_start: Option<usize>,
}

/// Finds the run of the event whose MATCH begins at `match_start`.
pub fn find(line: &[u8], match_start: usize) -> Run<'_> {
    let shape = MatchShape::of(line, match_start);
    let mut fitting: Option<Run<'_>> = None;
    let mut doubtful: Option<Run<'_>> = None;
    let mut candidates = 0;
    let mut from = match_start;
    for at in SEVERITY_OPENING.find_iter(line) {
        if at < from {
            continue;
        }
        let Some((anchor, data_start)) = Anchor::at(line, at) else { continue };
        let msg_end = data_start - DATA_OPENING.needle().len();
        let head = last_head(&line[..msg_end], from, &shape);
        // No head reaches over an anchor, so what was searched once needs no second look.
        from = anchor.end;
        let Some((head, msg_start, fits)) = head else { continue };
        candidates += 1;
        let slot = if fits { &mut fitting } else { &mut doubtful };
        slot.get_or_insert(Run {
            matched: &line[match_start..head.start],
            head,
            msg: &line[msg_start..msg_end],
            data: &line[data_start..at],
            severity: anchor.severity,
            ver: anchor.ver,
            maturity: anchor.maturity,
            accuracy: anchor.accuracy,
            tail_start: Some(anchor.end),
            candidates: 0,
        });
    }
    let mut run = fitting.or(doubtful).unwrap_or_else(|| cut_run(line, match_start, &shape));
    run.candidates = candidates;
    run
}

/// ` [key "VALUE"]` at the start of `text`, for a value whose quotes are escaped; and what follows it.
pub fn escaped_field<'a>(text: &'a [u8], opening: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let rest = text.strip_prefix(opening)?;
    let (value, rest) = rest.split_at(memchr(b'"', rest)?);
    Some((value, rest.strip_prefix(b"\"]")?))
}

/// The same for a number.
fn digits_field<'a>(text: &'a [u8], opening: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let rest = text.strip_prefix(opening)?;
    let (value, rest) = rest.split_at(rest.iter().take_while(|byte| byte.is_ascii_digit()).count());
    if value.is_empty() { None } else { Some((value, rest.strip_prefix(b"\"]")?)) }
}

/// The same for the severity: syslog's, 0 to 7.
fn severity_field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    digits_field(text, b" [severity \"").filter(|(severity, _)| matches!(severity, [b'0'..=b'7']))
}

struct Anchor<'a> {
    severity: &'a [u8],
    ver: &'a [u8],
    maturity: &'a [u8],
    accuracy: &'a [u8],
    /// Behind the closing bracket of `accuracy`.
    end: usize,
}

impl<'a> Anchor<'a> {
    /// The anchor whose first byte, the closing quote of `data`, stands at `at`; and where `data` begins.
    fn at(line: &'a [u8], at: usize) -> Option<(Anchor<'a>, usize)> {
        let (severity, rest) = severity_field(&line[at + 2..])?;
        let (ver, rest) = escaped_field(rest, b" [ver \"")?;
        let (maturity, rest) = digits_field(rest, b" [maturity \"")?;
        let (accuracy, rest) = digits_field(rest, b" [accuracy \"")?;
        // Quotes in `data` are escaped: the one before must be its own.
        let data_start = memrchr(b'"', &line[..at])? + 1;
        line[..data_start].ends_with(DATA_OPENING.needle()).then_some(())?;
        Some((Anchor { severity, ver, maturity, accuracy, end: line.len() - rest.len() }, data_start))
    }
}

/// The last complete head in `text[from..]` that stands where MATCH can end, else the last one at all; where its `msg`
/// begins; and whether it stands so.
fn last_head<'a>(text: &'a [u8], from: usize, shape: &MatchShape) -> Option<(Head<'a>, usize, bool)> {
    let mut best: Option<(Head<'a>, usize, bool)> = None;
    for at in HEAD_OPENING.find_iter(text.get(from..)?).map(|at| at + from) {
        let Some(head) = Head::at(text, at) else { continue };
        let Some(msg_start) = head.msg_start else { continue };
        let fits = shape.ends_at(text, at);
        if fits || !best.is_some_and(|(.., fits)| fits) {
            best = Some((head, msg_start, fits));
        }
    }
    best
}

/// What is left of a run that the end of the line cut.
fn cut_run<'a>(line: &'a [u8], match_start: usize, shape: &MatchShape) -> Run<'a> {
    let mut chosen = None;
    for at in HEAD_OPENING.find_iter(&line[match_start..]).map(|at| at + match_start) {
        // A head that stands elsewhere is a value's: the true one was cut off.
        chosen = Head::at(line, at).filter(|_| shape.ends_at(line, at)).or(chosen);
    }
    let Some(head) = chosen.filter(|head| shape.outlived_by(line, head.start)) else {
        return Run { matched: &line[match_start..], ..Run::default() };
    };
    let mut run = Run { matched: &line[match_start..head.start], head, ..Run::default() };
    let Some(msg_start) = head.msg_start else { return run };
    let Some((msg, rest)) = split_at(&line[msg_start..], &DATA_OPENING) else { return run };
    run.msg = msg;
    let Some(end) = memchr(b'"', rest) else { return run };
    let Some(after) = rest[end..].strip_prefix(b"\"]") else { return run };
    run.data = &rest[..end];
    let Some((severity, rest)) = severity_field(after) else { return run };
    run.severity = severity;
    let Some((ver, rest)) = escaped_field(rest, b" [ver \"") else { return run };
    run.ver = ver;
    let Some((maturity, _)) = digits_field(rest, b" [maturity \"") else { return run };
    run.maturity = maturity;
    run
}

impl<'a> Head<'a> {
    /// The head that begins at `at`. A head that ends early is one only if the text ends with it; any other is a forgery
    /// that stops half-way.
    fn at(text: &'a [u8], at: usize) -> Option<Head<'a>> {
        let mut head = Head { start: at, ..Head::default() };
        let rest = &text[at..];
        let Some((file, rest)) = escaped_field(rest, b"[file \"") else { return head.cut(rest, b"[file \"") };
        head.file = file;
        let Some((line, rest)) = digits_field(rest, b" [line \"") else { return head.cut(rest, b" [line \"") };
        head.line = line;
        let Some((id, rest)) = digits_field(rest, b" [id \"") else { return head.cut(rest, b" [id \"") };
        head.id = id;
        let Some((rev, rest)) = escaped_field(rest, b" [rev \"") else { return head.cut(rest, b" [rev \"") };
        head.rev = rev;
        let Some(msg) = rest.strip_prefix(b" [msg \"") else { return head.cut(rest, b" [msg \"") };
        head.msg_start = Some(text.len() - msg.len());
        Some(head)
    }

    /// This head without the field that `rest` should hold, if the text ended inside that field.
    fn cut(self, rest: &[u8], opening: &[u8]) -> Option<Head<'a>> {
        let ended = match rest.strip_prefix(opening) {
            Some(value) => memchr(b'"', value).is_none_or(|quote| quote + 1 == value.len()),
            None => opening.starts_with(rest),
        };
        ended.then_some(self)
    }
}

/// The forms of MATCH, by which the end of it is known.
enum MatchShape {
    /// `Matched "Operator … (Value: `V' ) `, with V of at most 100 characters.
    Operator { start: usize },
    /// No client's text in it (libinjection, or empty): it ends here.
    Exact { end: usize },
    /// Another form: it may end anywhere.
    Unknown,
}

/// The engine prints so many characters of a value, then [`OMITTED`].
const VALUE_CHARACTERS_MAX: usize = 100;
/// Follows a shortened value, after ` (` and a number.
const OMITTED: &[u8] = b" characters omitted)";
const VALUE_CLOSING: &[u8] = b"' ) ";
/// A value's longest print: four bytes a character (`\xHH`), and the note with a number of up to 20 digits.
const VALUE_BYTES_MAX: usize = 4 * VALUE_CHARACTERS_MAX + 2 + 20 + OMITTED.len();

impl MatchShape {
    fn of(line: &[u8], start: usize) -> MatchShape {
        let text = &line[start..];
        for exact in [&b"detected SQLi using libinjection. "[..], b"detected XSS using libinjection. "] {
            if text.starts_with(exact) {
                return MatchShape::Exact { end: start + exact.len() };
            }
        }
        let blank = text.len() - text.trim_ascii_start().len();
        if text[blank..].starts_with(b"[file \"") {
            MatchShape::Exact { end: start + blank }
        } else if text.starts_with(b"Matched \"Operator `") {
            MatchShape::Operator { start }
        } else {
            MatchShape::Unknown
        }
    }

    /// Whether a head that begins at `at` may follow MATCH.
    fn ends_at(&self, line: &[u8], at: usize) -> bool {
        let start = match *self {
            MatchShape::Unknown => return true,
            MatchShape::Exact { end } => return at == end,
            MatchShape::Operator { start } => start,
        };
        let Some(before) = line[start..at].strip_suffix(VALUE_CLOSING) else { return false };
        value(before).is_some_and(|value| characters(without_omitted(value)) <= VALUE_CHARACTERS_MAX)
    }

    /// Whether the line goes on so far behind the head at `at` that a value can't reach to its end: else the head may
    /// itself stand in the value, and the true one was cut off.
    fn outlived_by(&self, line: &[u8], at: usize) -> bool {
        let MatchShape::Operator { start } = *self else { return true };
        let Some(value) = value(&line[start..at]) else { return false };
        let behind = characters(value) + characters(&line[at..]);
        behind > VALUE_CHARACTERS_MAX + VALUE_CLOSING.len() + "[file \"".len()
    }
}

/// What stands behind the last opening of a value in `text`, if that is near enough to be the true one.
fn value(text: &[u8]) -> Option<&[u8]> {
    let opening = VALUE_OPENING.needle().len();
    let window = &text[text.len().saturating_sub(VALUE_BYTES_MAX + opening)..];
    VALUE_OPENING.rfind(window).map(|at| &window[at + opening..])
}

/// A printed value without ` (N characters omitted)`.
fn without_omitted(value: &[u8]) -> &[u8] {
    let Some(rest) = value.strip_suffix(OMITTED) else { return value };
    let digits = rest.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    rest[..rest.len() - digits].strip_suffix(b" (").unwrap_or(value)
}

/// The least number of characters that print so: `\xHH` may be one, or four typed ones.
fn characters(value: &[u8]) -> usize {
    let mut rest = value;
    let mut count = 0;
    while let [_, after @ ..] = rest {
        rest = match rest {
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => after,
            _ => after,
        };
        count += 1;
    }
    count
}
