//! How values are written: Go's `%v`, `%q`, and the rest of `printf`.

use super::Mistake;
use super::functions::{Kind, borders};
use super::room::{Buffer, Texts, Value};
use std::io::Write;
use std::ops::Range;

/// Characters to which `printf` may fill up.
const WIDTH_MAX: usize = 1_000;

/// As Go's `%v` writes it.
pub(super) fn push_value(texts: &Texts, value: Value, out: &mut Buffer) {
    match value {
        Value::Nothing => out.push(b"<nil>"),
        Value::Bool(yes) => put(out, format_args!("{yes}")),
        Value::Int(int) => put(out, format_args!("{int}")),
        Value::Float(float) => push_float(float, out),
        Value::Text(text) => out.push(texts.get(text)),
        Value::List(list) => {
            out.push(b"[");
            for (i, item) in texts.items(list).iter().enumerate() {
                out.push(if i > 0 { b" " } else { b"" });
                out.push(texts.get(*item));
            }
            out.push(b"]");
        }
        Value::Parts(list) => {
            out.push(b"map[");
            for (number, item) in texts.items(list).iter().enumerate() {
                put(out, format_args!("{}_{number}:", if number > 0 { " " } else { "" }));
                out.push(texts.get(*item));
            }
            out.push(b"]");
        }
    }
}

fn put(out: &mut Buffer, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a buffer takes every write");
}

/// `strconv.FormatFloat(value, 'g', -1, 64)`: the fewest digits, with an exponent where it is below -4 or above 5.
fn push_float(value: f64, out: &mut Buffer) {
    if !value.is_finite() {
        return out.push(if value.is_nan() {
            b"NaN"
        } else if value > 0.0 {
            b"+Inf"
        } else {
            b"-Inf"
        });
    }
    let mut room = [0; 40];
    let mut rest = &mut room[..];
    write!(rest, "{value:e}").expect("17 digits and an exponent fit");
    let bytes = 40 - rest.len();
    let text = std::str::from_utf8(&room[..bytes]).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    match exponent.parse::<i32>().unwrap_or(0) {
        -4..=5 => put(out, format_args!("{value}")),
        exponent => put(out, format_args!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())),
    }
}

/// `strconv.Quote`.
pub(super) fn push_quoted(bytes: &[u8], out: &mut Buffer) {
    out.push(b"\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            push_quoted_char(c, out);
        }
        for byte in chunk.invalid() {
            put(out, format_args!("\\x{byte:02x}"));
        }
    }
    out.push(b"\"");
}

fn push_quoted_char(c: char, out: &mut Buffer) {
    let plain = match c {
        '\x07' => "\\a",
        '\x08' => "\\b",
        '\x0c' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\x0b' => "\\v",
        '"' => "\\\"",
        '\\' => "\\\\",
        c if c.is_ascii_control() => return put(out, format_args!("\\x{:02x}", u32::from(c))),
        '\'' => "'",
        // What Rust escapes nowhere is what Unicode prints, but for marks that stand on the character before.
        c if c.escape_debug().len() == 1 || ('\u{300}'..='\u{36f}').contains(&c) => return out.push_char(c),
        c if u32::from(c) < 0x1_0000 => return put(out, format_args!("\\u{:04x}", u32::from(c))),
        c => return put(out, format_args!("\\U{:08x}", u32::from(c))),
    };
    out.push(plain.as_bytes());
}

/// The format of a `printf`, read before there is a line.
#[derive(Clone, Debug)]
pub(super) struct Format(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Verb(Verb),
}

#[derive(Clone, Debug, Default)]
struct Verb {
    verb: char,
    /// `-`: filled up on the right.
    left: bool,
    /// `0`: filled up with zeros.
    zeros: bool,
    /// `+`, or a space, before a number that is not negative.
    sign: Option<char>,
    width: usize,
    precision: Option<usize>,
}

impl Format {
    /// Reads a format that stands at `at` of the template, for arguments of these kinds.
    pub fn parse(format: &str, kinds: &[Kind], at: &Range<usize>) -> Result<Format, Mistake> {
        let (mut parts, mut wanted) = (Vec::new(), 0);
        let mut rest = format;
        while let Some((literal, verb)) = rest.split_once('%') {
            parts.push(Part::Literal(literal.to_string()));
            if let Some(behind) = verb.strip_prefix('%') {
                parts.push(Part::Literal("%".to_string()));
                rest = behind;
                continue;
            }
            let (verb, behind) = read_verb(verb).ok_or_else(|| {
                Mistake::new(
                    at.clone(),
                    "`printf` here knows `%v`, `%s`, `%q`, `%d`, `%t`, `%x`, `%X`, `%c`, `%f` and `%g`",
                )
                .help("with a width, a precision, `-`, `0`, `+` and a space, and `%%` for `%`")
            })?;
            if let Some(kind) = kinds.get(wanted).filter(|kind| !verb.writes(**kind)) {
                return Err(Mistake::new(at.clone(), format!("`%{}` does not write {}", verb.verb, kind.name()))
                    .help("`%v` writes everything; `int` and `float64` make numbers of texts"));
            }
            parts.push(Part::Verb(verb));
            wanted += 1;
            rest = behind;
        }
        parts.push(Part::Literal(rest.to_string()));
        if wanted != kinds.len() {
            let message = format!("the format of `printf` wants {wanted} values, and there are {}", kinds.len());
            return Err(Mistake::new(at.clone(), message));
        }
        Ok(Format(parts))
    }

    pub fn write(&self, texts: &Texts, values: &[Value], out: &mut Buffer) {
        let mut values = values.iter();
        for part in &self.0 {
            match part {
                Part::Literal(text) => out.push(text.as_bytes()),
                Part::Verb(verb) => verb.write(texts, values.next().copied().unwrap_or(Value::Nothing), out),
            }
        }
    }
}

/// What stands behind a `%`, and what follows it.
fn read_verb(text: &str) -> Option<(Verb, &str)> {
    let mut verb = Verb::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|c| "-0+ ".contains(*c)) {
        match flag {
            '-' => verb.left = true,
            '0' => verb.zeros = true,
            '+' => verb.sign = Some('+'),
            _ => verb.sign = verb.sign.or(Some(' ')),
        }
        rest = &rest[1..];
    }
    let number = |rest: &mut &str| {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number = if digits == 0 { Ok(0) } else { rest[..digits].parse() };
        *rest = &rest[digits..];
        number.ok().filter(|number| *number <= WIDTH_MAX)
    };
    verb.width = number(&mut rest)?;
    if let Some(behind) = rest.strip_prefix('.') {
        rest = behind;
        verb.precision = Some(number(&mut rest)?);
    }
    verb.verb = rest.chars().next().filter(|c| "vsqdtxXcfg".contains(*c))?;
    // Digits of `%g` and of a float's `%v` are always the fewest.
    let exact = !(verb.verb == 'g' && verb.precision.is_some());
    exact.then(|| (verb, &rest[1..]))
}

impl Verb {
    /// Whether Go writes such a value with this verb, and not that it can't.
    fn writes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Any => true,
            Kind::Nothing => self.verb == 'v',
            Kind::Text => "vsqxX".contains(self.verb),
            Kind::Int => "vdxXc".contains(self.verb),
            Kind::Float => "vfg".contains(self.verb),
            Kind::Bool => "vt".contains(self.verb),
            Kind::List | Kind::Parts | Kind::Many => "vs".contains(self.verb),
        }
    }

    fn write(&self, texts: &Texts, value: Value, out: &mut Buffer) {
        let kind = kind_of(value);
        if !self.writes(kind) {
            return put_misfit(self.verb, texts, value, out);
        }
        let start = out.len();
        let mut digits_start = start;
        match value {
            Value::Text(text) => self.write_text(texts.get(text), out),
            Value::Int(int) if self.verb == 'c' => {
                out.push_char(u32::try_from(int).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
            Value::Int(int) => {
                digits_start += self.write_sign(int < 0, out);
                let (number, least) = (int.unsigned_abs(), self.precision.unwrap_or(1));
                match self.verb {
                    'x' => put(out, format_args!("{number:0least$x}")),
                    'X' => put(out, format_args!("{number:0least$X}")),
                    _ => put(out, format_args!("{number:0least$}")),
                }
            }
            Value::Float(float) => {
                digits_start += self.write_sign(float.is_sign_negative() && !float.is_nan(), out);
                match self.verb {
                    'f' => put(out, format_args!("{:.*}", self.precision.unwrap_or(6), float.abs())),
                    _ => push_float(float.abs(), out),
                }
            }
            value => push_value(texts, value, out),
        }
        // Go fills numbers up only, and no whole ones that have a precision.
        let number = match value {
            Value::Int(_) => self.verb != 'c' && self.precision.is_none(),
            value => matches!(value, Value::Float(_)),
        };
        let missing = self.width.saturating_sub(borders(&out.bytes()[start..]).count() - 1);
        match (self.left, self.zeros && number) {
            (true, _) => out.fill(out.len(), missing, b' '),
            (false, true) => out.fill(digits_start, missing, b'0'),
            (false, false) => out.fill(start, missing, b' '),
        }
    }

    fn write_text(&self, bytes: &[u8], out: &mut Buffer) {
        let bytes = match self.precision {
            Some(most) => &bytes[..borders(bytes).nth(most).unwrap_or(bytes.len())],
            None => bytes,
        };
        match self.verb {
            'q' => push_quoted(bytes, out),
            'x' => bytes.iter().for_each(|byte| put(out, format_args!("{byte:02x}"))),
            'X' => bytes.iter().for_each(|byte| put(out, format_args!("{byte:02X}"))),
            _ => out.push(bytes),
        }
    }

    /// Writes a number's sign; how many bytes it has.
    fn write_sign(&self, negative: bool, out: &mut Buffer) -> usize {
        match if negative { Some('-') } else { self.sign } {
            Some(sign) => {
                out.push_char(sign);
                1
            }
            None => 0,
        }
    }
}

fn kind_of(value: Value) -> Kind {
    match value {
        Value::Nothing => Kind::Nothing,
        Value::Bool(_) => Kind::Bool,
        Value::Int(_) => Kind::Int,
        Value::Float(_) => Kind::Float,
        Value::Text(_) => Kind::Text,
        Value::List(_) => Kind::List,
        Value::Parts(_) => Kind::Parts,
    }
}

/// Go's `%!d(string=x)`: what is written of a value that the verb is not for.
fn put_misfit(verb: char, texts: &Texts, value: Value, out: &mut Buffer) {
    let name = match kind_of(value) {
        Kind::Nothing => return put(out, format_args!("%!{verb}(<nil>)")),
        Kind::Bool => "bool",
        Kind::Int => "int",
        Kind::Float => "float64",
        Kind::Text => "string",
        _ => "[]string",
    };
    put(out, format_args!("%!{verb}({name}="));
    push_value(texts, value, out);
    out.push(b")");
}
