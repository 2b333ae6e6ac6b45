//! Where secrets stand in a text: values of parameters and cookies behind a `=`, values of headers behind a `:`, and what
//! ModSecurity quotes of either.
//!
//! One pass from left to right that stops at `=` and `:`, looks a bounded way back for a name, and ahead for the end of its
//! value: the work grows with the text and no faster. A value begins and ends between two characters of JSON, so a text
//! that was JSON stays JSON.

use super::escapes::{backslashes, unit};
use super::names::{NAME_BYTES_MAX, Name, Names};
use std::ops::Range;

/// How far back a name is looked for: every character of the longest one may be percent-encoded twice.
const LOOK_BACK_BYTES: usize = 5 * NAME_BYTES_MAX;

pub(super) struct Secrets {
    /// Parameters of a query, fields of a form, cookies by their names.
    pub query: Names,
    pub headers: Names,
}

impl Secrets {
    /// Visits the places of all secrets, from left to right; they do not overlap.
    pub fn find(&self, text: &[u8], visit: &mut dyn FnMut(Range<usize>)) {
        if self.query.is_empty() && self.headers.is_empty() {
            return;
        }
        let is_json = matches!(text.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
        Finder { secrets: self, text, is_json, at: 0, floor: 0, matched_data: None, visit }.run();
    }
}

struct Finder<'f> {
    secrets: &'f Secrets,
    text: &'f [u8],
    is_json: bool,
    at: usize,
    /// What stands before belongs to something that was looked at already.
    floor: usize,
    /// Where the text behind ModSecurity's last `Matched Data: ` begins.
    matched_data: Option<usize>,
    visit: &'f mut dyn FnMut(Range<usize>),
}

impl Finder<'_> {
    fn run(&mut self) {
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'=' => self.equals(self.at + 1, 0),
                b':' => self.colon(),
                b'%' | b'\\' => {
                    let unit = unit(self.text, self.at);
                    let next = self.at + unit.len;
                    if unit.byte == b'=' { self.equals(next, unit.level) } else { self.at = next }
                }
                _ => self.at += 1,
            }
        }
    }

    /// Takes a secret out, and goes on behind it.
    fn take(&mut self, secret: Range<usize>) {
        self.at = secret.end;
        self.floor = secret.end;
        if !secret.is_empty() {
            (self.visit)(secret);
        }
    }

    fn skip_to(&mut self, at: usize) {
        self.at = at;
        self.floor = at;
    }

    /// `name=value`, the `=` being at hand; it is encoded `level` times.
    fn equals(&mut self, value: usize, level: u32) {
        let (name, before) = self.parameter();
        let in_query = matches!(before, None | Some(b'?' | b'&' | b';' | b'#' | b'"' | b'\'' | b'`'));
        let is_secret = self.secrets.headers.has_end(name.bytes())
            || in_query && self.secrets.query.has_part(name.bytes());
        if !is_secret {
            return self.skip_to(value);
        }
        match self.quoted(value) {
            Some(inside) => self.take(inside),
            None => self.take(value..self.value_end(value, level)),
        }
    }

    /// The name before the `=` at hand, and what stands before that: a character, or nothing at the start.
    fn parameter(&self) -> (Name, Option<u8>) {
        let least = self.floor.max(self.at.saturating_sub(LOOK_BACK_BYTES));
        let back = self.text[least..self.at].iter().rev().take_while(|byte| is_parameter(**byte) || b"%\\".contains(byte));
        let mut at = self.at - back.count();
        let mut before = match self.text[..at].last() {
            // The cookies of one header: `a=b; session=…`.
            Some(b' ') if self.text[..at].trim_ascii_end().ends_with(b";") && at > self.floor => Some(b';'),
            last => last.copied(),
        };
        let mut name = Name::new();
        while at < self.at {
            let unit = unit(self.text, at);
            if is_parameter(unit.byte) {
                name.push(unit.byte);
            } else {
                name.clear();
                before = Some(unit.byte);
            }
            at += unit.len;
        }
        (name, before)
    }

    /// Where the value of a parameter ends: at white space, a quote, or the next parameter.
    fn value_end(&self, from: usize, level: u32) -> usize {
        let mut at = from;
        while at < self.text.len() {
            let unit = unit(self.text, at);
            let ends = match unit.byte {
                // What is encoded more often than the `=` is part of the value. nginx writes a quote that a client sent
                // as `\x22`; one that ends a text stands for itself, or behind backslashes.
                _ if unit.level > level => false,
                b'"' => self.text[at + unit.len - 1] == b'"' || unit.level > 0,
                b'&' | b'#' | 0..=b' ' | 0x7f => true,
                b'\'' | b'`' => {
                    let next = self.text.get(at + unit.len);
                    unit.len == 1 && next.is_none_or(|next| next.is_ascii_whitespace() || b",;)]}\"".contains(next))
                }
                _ => false,
            };
            if ends {
                return at;
            }
            at += unit.len;
        }
        self.text.len()
    }

    fn colon(&mut self) {
        let colon = self.at;
        if self.modsecurity(colon) || self.key(colon) || self.header(colon) {
            return;
        }
        self.at = colon + 1;
    }

    /// `"name": "value"` and `"name": ["value", …]`, also within a text of JSON, where quotes have backslashes.
    fn key(&mut self, colon: usize) -> bool {
        let Some((name, quote)) = self.quoted_name(colon) else { return false };
        if !self.secrets.headers.has_end(Name::of(&self.text[name]).bytes()) {
            return false;
        }
        let mut at = self.past_space(colon + 1);
        let is_list = self.text.get(at) == Some(&b'[');
        at = if is_list { self.past_space(at + 1) } else { at };
        self.skip_to(at);
        while let Some(inside) = quote.inside(self.text, at) {
            at = (inside.end + quote.len()).min(self.text.len());
            self.take(inside);
            self.skip_to(at);
            let comma = self.past_space(at);
            if !is_list || self.text.get(comma) != Some(&b',') {
                break;
            }
            at = self.past_space(comma + 1);
        }
        true
    }

    /// The name in quotes before a colon, and its quote.
    fn quoted_name(&self, colon: usize) -> Option<(Range<usize>, Quote)> {
        let behind = self.floor + self.text[self.floor..colon].trim_ascii_end().len();
        let quote = self.quote_before(behind)?;
        let name = self.name_before(behind - quote.len());
        let opened = name.start > self.floor && self.text[name.start - 1] == quote.mark;
        opened.then_some((name, quote))
    }

    /// `Name: value`, to the end of the line or of the quotes around it.
    fn header(&mut self, colon: usize) -> bool {
        let name = self.name_before(colon);
        if !self.secrets.headers.has_end(Name::of(&self.text[name.clone()]).bytes()) {
            return false;
        }
        let value = self.past_blanks(colon + 1);
        match self.quote_before(name.start) {
            Some(around) => self.take(value..around.close(self.text, value, Reach::Line)),
            None => match self.quoted(value) {
                Some(inside) => self.take(inside),
                // A quote that encloses nothing ends what the name stands in.
                None if self.quote_at(value).is_some() => self.skip_to(value),
                None => self.take(value..Quote::PLAIN.close(self.text, value, Reach::Line)),
            },
        }
        true
    }

    /// The characters of a header's name before `end`.
    fn name_before(&self, end: usize) -> Range<usize> {
        let least = self.floor.max(end.saturating_sub(NAME_BYTES_MAX + 1));
        let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
        let start = end - self.text[least..end].iter().rev().take_while(is_name).count();
        // The `n` of a `\nCookie` is none of them.
        let escapes = self.text[self.floor..start].iter().rev().take_while(|byte| **byte == b'\\').count();
        let behind = if escapes > 0 { unit(self.text, start - escapes).len - escapes } else { 0 };
        (start + behind).min(end)..end
    }

    /// What a quote right here encloses. Where JSON goes on behind a quote that ends a text, it is none that begins one.
    fn quoted(&self, at: usize) -> Option<Range<usize>> {
        let quote = self.quote_at(at)?;
        let next = self.text.get(at + quote.len())?;
        let goes_on = next.is_ascii_whitespace() || b",:]}\\".contains(next) || *next == quote.mark;
        (!goes_on).then(|| quote.inside(self.text, at)).flatten()
    }

    fn quote_at(&self, at: usize) -> Option<Quote> {
        let backslashes = backslashes(self.text, at);
        let mark = *self.text.get(at + backslashes).filter(|mark| b"\"'".contains(mark))?;
        (backslashes <= Quote::BACKSLASHES_MAX).then_some(Quote { mark, backslashes })
    }

    fn quote_before(&self, at: usize) -> Option<Quote> {
        let (mark, front) = self.text[self.floor..at].split_last().filter(|(mark, _)| b"\"'".contains(mark))?;
        let run = front.iter().rev().take(Quote::BACKSLASHES_MAX + 1).take_while(|byte| **byte == b'\\').count();
        (run <= Quote::BACKSLASHES_MAX).then_some(Quote { mark: *mark, backslashes: run })
    }

    /// ModSecurity's ``ARGS:token' (Value: `…' )`` and `Matched Data: … found within ARGS:token: …`.
    fn modsecurity(&mut self, colon: usize) -> bool {
        let front = &self.text[self.floor..colon];
        if front.ends_with(b"Matched Data") {
            self.matched_data = Some(self.past_space(colon + 1));
            return false;
        }
        if let Some(front) = front.strip_suffix(b"' (Value") {
            let end = self.floor + front.len();
            let Some(value) = self.text[colon + 1..].strip_prefix(b" `") else { return false };
            if self.variable(end).is_none() {
                return false;
            }
            let start = self.text.len() - value.len();
            let end = self.quoted_value_end(start);
            self.take(start..end);
            return true;
        }
        let Some(variable) = self.variable(colon) else { return false };
        let value = self.past_blanks(colon + 1);
        let within = self.text[..variable].strip_suffix(b" found within ");
        if let (Some(data), Some(within)) = (self.matched_data.take(), within)
            && data <= within.len()
            && data >= self.floor
            && Quote::PLAIN.close(self.text, data, Reach::Text) >= within.len()
        {
            self.take(data..within.len());
        }
        self.take(value..Quote::PLAIN.close(self.text, value, Reach::Line));
        true
    }

    /// Where a value ends that ModSecurity quotes: at `' )`. In a text of JSON not behind its end.
    fn quoted_value_end(&self, from: usize) -> usize {
        let mut at = from;
        while let Some(byte) = self.text.get(at) {
            match byte {
                b'\\' if self.is_json => at += 1,
                b'"' if self.is_json => return at,
                b'\'' if self.text[at..].starts_with(b"' )") => return at,
                _ => {}
            }
            at += 1;
        }
        self.text.len()
    }

    /// Where a variable of ModSecurity's that holds a secret begins, if one ends at `end`.
    fn variable(&self, end: usize) -> Option<usize> {
        let least = self.floor.max(end.saturating_sub(NAME_BYTES_MAX + 1));
        let name = end - self.text[least..end].iter().rev().take_while(|byte| is_parameter(**byte)).count();
        let front = self.text[self.floor..name].strip_suffix(b":")?;
        let capitals = front.iter().rev().take(32).take_while(|b| b.is_ascii_uppercase() || **b == b'_').count();
        let start = front.len() - capitals;
        let name = Name::of(&self.text[name..end]);
        let Secrets { query, headers } = self.secrets;
        let is_secret = match &front[start..] {
            b"ARGS" | b"ARGS_GET" | b"ARGS_POST" => query.has_part(name.bytes()),
            // All cookies are one header.
            b"REQUEST_COOKIES" => headers.has(b"cookie") || query.has_part(name.bytes()),
            b"REQUEST_HEADERS" | b"RESPONSE_HEADERS" => headers.has_end(name.bytes()),
            _ => false,
        };
        is_secret.then_some(self.floor + start)
    }

    fn past_blanks(&self, at: usize) -> usize {
        at + self.text[at..].iter().take_while(|byte| b" \t".contains(byte)).count()
    }

    fn past_space(&self, at: usize) -> usize {
        let at = at.min(self.text.len());
        self.text.len() - self.text[at..].trim_ascii_start().len()
    }
}

fn is_parameter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.[]~".contains(&byte)
}

/// A quote that begins a text, and the one that ends it: within a text of JSON it has a backslash, one level deeper three.
#[derive(Clone, Copy)]
struct Quote {
    mark: u8,
    backslashes: usize,
}

impl Quote {
    const PLAIN: Quote = Quote { mark: b'"', backslashes: 0 };
    const BACKSLASHES_MAX: usize = 7;

    fn len(self) -> usize {
        self.backslashes + 1
    }

    /// What the quote at `at` encloses.
    fn inside(self, text: &[u8], at: usize) -> Option<Range<usize>> {
        let (mark, escapes) = text.get(at..at + self.len())?.split_last()?;
        let opens = *mark == self.mark && escapes.iter().all(|byte| *byte == b'\\');
        opens.then(|| at + self.len()..self.close(text, at + self.len(), Reach::Text))
    }

    /// Where the text ends that goes on at `from`: before the quote with its backslashes, or before one that ends a text
    /// around it. What has more backslashes is part of the text.
    fn close(self, text: &[u8], from: usize, reach: Reach) -> usize {
        let mut at = from;
        while let Some(byte) = text.get(at) {
            let run = if *byte == b'\\' { backslashes(text, at) } else { 0 };
            match text.get(at + run) {
                Some(mark) if *mark == b'"' || *mark == self.mark => {
                    if let Some(own) = self.ends_with(run) {
                        return at + run - own;
                    }
                    at += run + 1;
                }
                _ => {
                    let unit = unit(text, at);
                    if reach == Reach::Line && unit.level == 0 && matches!(unit.byte, b'\r' | b'\n') {
                        return at;
                    }
                    at += unit.len;
                }
            }
        }
        text.len()
    }

    /// Whether a mark behind so many backslashes ends the text or one around it, and how many of them are its own. Each text
    /// around halves them: an even number stands for backslashes, and the mark ends that text; an odd one escapes the mark.
    fn ends_with(self, backslashes: usize) -> Option<usize> {
        let (mut rest, mut own) = (backslashes, 0);
        while own <= self.backslashes {
            if rest % 2 == 0 {
                return Some(own);
            }
            rest /= 2;
            own = 2 * own + 1;
        }
        None
    }
}

/// How far a value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// To the quote.
    Text,
    /// To the quote or the end of the line.
    Line,
}
