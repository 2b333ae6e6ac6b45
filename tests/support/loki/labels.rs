//! The labels of a stream as text, `{a="b", c="d"}`: read as Prometheus reads a metric without a name, and as strictly
//! as Loki's own clients write it.

/// Reads labels in the order in which they stand. Names may repeat: Loki has its own words for that.
pub fn parse(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut rest = text.strip_prefix('{').ok_or_else(|| format!("no `{{` begins {text:?}"))?;
    let mut labels: Vec<(String, String)> = Vec::new();
    if rest == "}" {
        return Ok(labels);
    }
    loop {
        let end = rest.find('=').ok_or_else(|| format!("no `=` in {rest:?}"))?;
        let name = &rest[..end];
        if !is_name(name) {
            return Err(format!("{name:?} is no name of a label"));
        }
        let (value, after) = quoted(&rest[end + 1..])?;
        if labels.last().is_some_and(|(before, _)| before.as_str() > name) {
            return Err(format!("{name:?} does not stand in its order"));
        }
        labels.push((name.to_string(), value));
        match after {
            "}" => return Ok(labels),
            _ => rest = after.strip_prefix(", ").ok_or_else(|| format!("neither `, ` nor the end: {after:?}"))?,
        }
    }
}

/// Writes labels as Loki shows them; the key of a stream.
pub fn write(labels: &[(String, String)]) -> String {
    let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
    format!("{{{}}}", labels.join(", "))
}

pub fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Reads a text between double quotes as Go's `strconv.Unquote` does, and gives what follows it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut rest = text.strip_prefix('"').ok_or_else(|| format!("no `\"` begins {text:?}"))?;
    let mut value = Vec::new();
    loop {
        let first = rest.chars().next().ok_or_else(|| format!("no `\"` ends {text:?}"))?;
        rest = &rest[first.len_utf8()..];
        match first {
            '"' => break,
            '\n' => return Err("a line break between quotes".to_string()),
            '\\' => rest = escape(rest, &mut value)?,
            _ => value.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    // `\xff` can make anything; a label that is no text gets no further.
    let value = String::from_utf8(value).map_err(|error| format!("{text:?} is no UTF-8: {error}"))?;
    Ok((value, rest))
}

/// Reads what follows a backslash, and gives what follows that.
fn escape<'t>(text: &'t str, value: &mut Vec<u8>) -> Result<&'t str, String> {
    let wrong = || format!("an escape that Go does not know: \\{text}");
    let (kind, rest) = (text.chars().next().ok_or_else(wrong)?, text.get(1..).ok_or_else(wrong)?);
    let simple = match kind {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '"' => b'"',
        'x' | 'u' | 'U' => {
            let digits = match kind {
                'x' => 2,
                'u' => 4,
                _ => 8,
            };
            let number = number(rest, digits, 16).ok_or_else(wrong)?;
            match kind {
                'x' => value.push(u8::try_from(number).map_err(|_| wrong())?),
                _ => {
                    let c = char::from_u32(number).ok_or_else(wrong)?;
                    value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            return Ok(&rest[digits..]);
        }
        '0'..='7' => {
            let number = number(text, 3, 8).ok_or_else(wrong)?;
            value.push(u8::try_from(number).map_err(|_| wrong())?);
            return Ok(&text[3..]);
        }
        _ => return Err(wrong()),
    };
    value.push(simple);
    Ok(rest)
}

/// So many digits at the beginning; signs are none.
fn number(text: &str, digits: usize, radix: u32) -> Option<u32> {
    let digits = text.get(..digits)?;
    let all = digits.chars().all(|c| c.is_digit(radix));
    all.then(|| u32::from_str_radix(digits, radix).ok()).flatten()
}

/// As Go's `strconv.Quote` for what tests use; only ever compared with itself.
fn quote(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
