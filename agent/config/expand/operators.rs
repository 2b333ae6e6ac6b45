//! What an expression does to a variable's value.

/// Bytes from an offset on, which counts from the end if it is negative; at most `length` of them.
pub(super) fn substring(value: &str, offset: i64, length: Option<i64>) -> String {
    let len = value.len() as i64;
    let from = if offset < 0 { len.saturating_add(offset).max(0) } else { offset.min(len) };
    let to = length.map_or(len, |length| from.saturating_add(length).clamp(from, len));
    String::from_utf8_lossy(&value.as_bytes()[from as usize..to as usize]).into_owned()
}

/// `^` and `,` change the first letter, `^^` and `,,` all; nothing for another operator.
pub(super) fn casing(value: &str, operator: &str) -> Option<String> {
    let (head, tail) = value.split_at(value.chars().next().map_or(0, char::len_utf8));
    Some(match operator {
        "^" => head.to_uppercase() + tail,
        "^^" => value.to_uppercase(),
        "," => head.to_lowercase() + tail,
        ",," => value.to_lowercase(),
        _ => return None,
    })
}

/// Takes the shortest or the longest match of a glob away, never the empty one; a malformed glob matches nothing.
pub(super) fn strip(value: &str, glob: &str, prefix: bool, longest: bool) -> String {
    let Some(pattern) = glob_pattern(glob) else { return value.to_string() };
    let mut cuts: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
    if !prefix {
        cuts.reverse();
    }
    let mut matching = cuts.into_iter().skip(1).map(|cut| value.split_at(cut)).filter(|(head, tail)| {
        let piece = if prefix { head } else { tail };
        pattern.is_match(piece)
    });
    let cut = if longest { matching.next_back() } else { matching.next() };
    cut.map_or(value, |(head, tail)| if prefix { tail } else { head }).to_string()
}

/// `/` replaces once, `//` everywhere, `/#` in front, `/%` at the end. Without a new text the first two remove, and
/// the others do nothing.
pub(super) fn replace(value: &str, operator: &str, old: &str, new: Option<&str>) -> String {
    match (operator, new) {
        ("/", new) => value.replacen(old, new.unwrap_or_default(), 1),
        ("//", new) => value.replace(old, new.unwrap_or_default()),
        ("/#", Some(new)) => value.strip_prefix(old).map_or(value.to_string(), |tail| format!("{new}{tail}")),
        ("/%", Some(new)) => value.strip_suffix(old).map_or(value.to_string(), |head| format!("{head}{new}")),
        _ => value.to_string(),
    }
}

/// A shell's glob, in which `*` matches slashes too.
fn glob_pattern(glob: &str) -> Option<regex::Regex> {
    let mut out = String::from("^(?s:");
    let mut rest = glob;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '*' => out.push_str(".*"),
            '?' => out.push('.'),
            '[' => {
                let (class, behind) = rest.split_once(']')?;
                out.extend(["[", &class.replace('[', r"\["), "]"]);
                rest = behind;
            }
            '\\' => {
                let literal = rest.chars().next()?;
                rest = &rest[literal.len_utf8()..];
                out.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
            }
            c => out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex::Regex::new(&(out + ")$")).ok()
}
