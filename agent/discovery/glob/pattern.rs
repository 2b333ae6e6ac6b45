//! The text of a glob, taken apart.

/// One name of a path.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Segment {
    Literal(Vec<u8>),
    Wild(Vec<Token>),
    DoubleStar,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Character(char),
    /// `?`
    Any,
    /// `*`
    Star,
    /// `[a-z]`: ranges, both ends included.
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Segment {
    /// Whether a name matches; `**` alone matches any name. On a mismatch only the last star takes one more character,
    /// so the time is at most the name's length times the segment's.
    pub fn matches(&self, name: &[u8]) -> bool {
        let tokens = match self {
            Segment::Literal(literal) => return literal == name,
            Segment::DoubleStar => return true,
            Segment::Wild(tokens) => tokens,
        };
        let (mut token, mut at) = (0, 0);
        let mut last_star: Option<(usize, usize)> = None;
        loop {
            if tokens.get(token) == Some(&Token::Star) {
                token += 1;
                last_star = Some((token, at));
                continue;
            }
            if at == name.len() && token == tokens.len() {
                return true;
            }
            let (c, bytes) = first_character(&name[at..]);
            if bytes > 0 && tokens.get(token).is_some_and(|token| token.matches(c)) {
                (token, at) = (token + 1, at + bytes);
                continue;
            }
            let Some((behind, from)) = last_star else { return false };
            let (_, bytes) = first_character(&name[from..]);
            if bytes == 0 {
                return false;
            }
            (token, at) = (behind, from + bytes);
            last_star = Some((behind, at));
        }
    }
}

impl Token {
    fn matches(&self, c: char) -> bool {
        match self {
            Token::Character(expected) => *expected == c,
            Token::Any | Token::Star => true,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// The first character and its bytes: an invalid byte is U+FFFD, as in Go; no byte is none.
fn first_character(name: &[u8]) -> (char, usize) {
    let head = &name[..name.len().min(4)];
    match head.utf8_chunks().next() {
        None => (char::REPLACEMENT_CHARACTER, 0),
        Some(chunk) => match chunk.valid().chars().next() {
            Some(c) => (c, c.len_utf8()),
            None => (char::REPLACEMENT_CHARACTER, 1),
        },
    }
}

/// All ways through the braces of a glob, at most `max`.
pub(super) fn without_braces(text: &str, max: usize) -> Result<Vec<String>, String> {
    let mut done = Vec::new();
    let mut open = vec![text.to_string()];
    while let Some(text) = open.pop() {
        let Some((before, choices, after)) = first_braces(&text)? else {
            done.push(text);
            continue;
        };
        open.extend(choices.iter().rev().map(|choice| format!("{before}{choice}{after}")));
        if done.len() + open.len() > max {
            return Err(format!("its braces give more than {max} paths"));
        }
    }
    Ok(done)
}

type Braces<'t> = (&'t str, Vec<&'t str>, &'t str);

/// What stands before, in and behind the first braces.
fn first_braces(text: &str) -> Result<Option<Braces<'_>>, String> {
    let mut marks = Vec::new();
    let mut depth = 0;
    let mut in_class = false;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => {
                characters.next();
            }
            '[' if depth == 0 => in_class = true,
            ']' => in_class = false,
            '{' if !in_class => {
                depth += 1;
                if depth == 1 {
                    marks.push(at);
                }
            }
            ',' if depth == 1 => marks.push(at),
            '}' if depth > 0 => {
                depth -= 1;
                if depth == 0 {
                    marks.push(at);
                    let choices = marks.windows(2).map(|pair| &text[pair[0] + 1..pair[1]]).collect();
                    return Ok(Some((&text[..marks[0]], choices, &text[at + 1..])));
                }
            }
            _ => {}
        }
    }
    if depth > 0 { Err("a `{` is not closed".into()) } else { Ok(None) }
}

/// The segments of an absolute path without braces, `.`, `..` and empty names resolved as Go's `filepath.Clean` does.
pub(super) fn segments(text: &str) -> Result<Vec<Segment>, String> {
    let mut segments = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(segment(name)?),
        }
    }
    u16::try_from(segments.len()).map_err(|_| "it has more than 65535 names")?;
    Ok(segments)
}

fn segment(name: &str) -> Result<Segment, String> {
    if name == "**" {
        return Ok(Segment::DoubleStar);
    }
    let mut tokens = Vec::new();
    let mut rest = name.chars();
    while let Some(c) = rest.next() {
        let token = match c {
            '\\' => Token::Character(rest.next().ok_or("a name ends with a backslash")?),
            '?' => Token::Any,
            '*' if tokens.last() == Some(&Token::Star) => continue,
            '*' => Token::Star,
            '[' => class(&mut rest).ok_or("a `[` is not closed, or holds nothing")?,
            c => Token::Character(c),
        };
        tokens.push(token);
    }
    let literal: Option<String> =
        tokens.iter().map(|t| if let Token::Character(c) = t { Some(*c) } else { None }).collect();
    Ok(literal.map_or(Segment::Wild(tokens), |text| Segment::Literal(text.into_bytes())))
}

/// Behind an opening bracket, up to and with the closing one.
fn class(rest: &mut std::str::Chars<'_>) -> Option<Token> {
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        rest.next();
    }
    let mut ranges = Vec::new();
    loop {
        let low = match rest.next()? {
            ']' if ranges.is_empty() => return None,
            ']' => return Some(Token::Class { negated, ranges }),
            '\\' => rest.next()?,
            c => c,
        };
        let mut ahead = rest.clone();
        let range = ahead.next() == Some('-') && !matches!(ahead.next(), None | Some(']'));
        let high = if range {
            rest.next();
            match rest.next()? {
                '\\' => rest.next()?,
                c => c,
            }
        } else {
            low
        };
        ranges.push((low, high));
    }
}
