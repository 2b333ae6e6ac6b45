//! Names of secrets, whichever way they are written: `X-Api-Key`, `x_api_key` and `X%2DApi%2DKey` are one name.

/// Bytes of a name; nobody names a parameter longer than this.
pub(super) const NAME_BYTES_MAX: usize = 64;

/// A name in its one form: lower case, `_` for `-`.
pub(super) struct Name {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Name {
    pub fn new() -> Name {
        Name { bytes: [0; NAME_BYTES_MAX], len: 0 }
    }

    pub fn of(text: &[u8]) -> Name {
        let mut name = Name::new();
        text.iter().for_each(|byte| name.push(*byte));
        name
    }

    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Bytes past [`NAME_BYTES_MAX`] only count: such a name is none that is known.
    pub fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = fold(byte);
        }
        self.len += 1;
    }

    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn fold(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_lowercase() }
}

#[derive(Debug, Default)]
pub(super) struct Names(Vec<Box<[u8]>>);

impl Names {
    pub fn new(names: &[String]) -> Names {
        Names(names.iter().map(|name| name.bytes().map(fold).collect()).collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether this is one of the names.
    pub fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|known| **known == *name)
    }

    /// Whether this is one of the names, or one with something in front: `http_authorization`, `X-Forwarded-Cookie`.
    pub fn has_end(&self, name: &[u8]) -> bool {
        self.0.iter().any(|known| {
            name.strip_suffix(&**known).is_some_and(|front| front.is_empty() || front.ends_with(b"_"))
        })
    }

    /// Whether a parameter is one of the names, or has one among its parts: `user[password]`, `openid.sig`, `token[]`.
    pub fn has_part(&self, name: &[u8]) -> bool {
        name.split(|byte| b".[]".contains(byte)).any(|part| !part.is_empty() && self.has(part))
    }
}
