//! Small changes of real texts, as hostile clients and cut lines make them.
#![allow(dead_code)]

/// One change. Numbers are taken modulo what is there, so that any of them is a change.
#[derive(Clone, Debug)]
pub enum Edit {
    Replace(usize, u8),
    Remove(usize, usize),
    /// One of [`TOKENS`].
    Insert(usize, usize),
    Cut(usize),
    /// A part of the text once more, elsewhere.
    Repeat(usize, usize, usize),
    /// The rest comes from another text.
    Splice(usize, usize, usize),
}

/// What the grammars of lines are made of.
pub const TOKENS: [&[u8]; 40] = [
    b"\"",
    b"\\",
    b"\\\"",
    b"\\u0000",
    b"\\ud800",
    b"\\x22",
    b"\0",
    b"\xff",
    b"\xc3",
    "\u{fffd}".as_bytes(),
    b"\n",
    b"\r",
    b"\t",
    b" ",
    b"  ",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"=",
    b" P ",
    b" F ",
    b" stdout ",
    b" stderr ",
    b"null",
    b"009",
    b"-1",
    b"1e999",
    b"NaN",
    b"-",
    b"\"} ",
    b"[id \"1\"]",
    b"\"] [severity \"2\"] [ver \"\"] [maturity \"0\"] [accuracy \"0\"]",
    b", client: 6.6.6.6, server: x",
    b" ModSecurity: Warning. ",
    b"__other__",
    b"::ffff:1.2.3.4",
    b"le=\"+Inf\"",
];

impl Edit {
    /// The change of a number: for generators that give numbers.
    pub fn of(kind: u8, [a, b, c]: [usize; 3]) -> Edit {
        match kind % 6 {
            0 => Edit::Replace(a, b as u8),
            1 => Edit::Remove(a, b % 64),
            2 => Edit::Insert(a, b),
            3 => Edit::Cut(a),
            4 => Edit::Repeat(a, b % 300, c),
            _ => Edit::Splice(a, b, c),
        }
    }

    pub fn apply(&self, text: &mut Vec<u8>, others: &[Vec<u8>]) {
        let length = text.len();
        let at = |position: usize| position % (length + 1);
        match *self {
            Edit::Replace(position, byte) => {
                if let Some(place) = text.get_mut(at(position)) {
                    *place = byte;
                }
            }
            Edit::Remove(position, count) => drop(text.drain(at(position)..(at(position) + count).min(length))),
            Edit::Insert(position, token) => insert(text, at(position), TOKENS[token % TOKENS.len()]),
            Edit::Cut(position) => text.truncate(at(position)),
            Edit::Repeat(position, count, to) => {
                let part = text[at(position)..(at(position) + count).min(length)].to_vec();
                insert(text, at(to), &part);
            }
            Edit::Splice(position, other, from) => {
                let Some(other) = others.get(other % others.len().max(1)) else { return };
                text.truncate(at(position));
                text.extend_from_slice(&other[from % (other.len() + 1)..]);
            }
        }
    }
}

fn insert(text: &mut Vec<u8>, at: usize, part: &[u8]) {
    text.splice(at..at, part.iter().copied());
}

/// Numbers that look random and come again with the same seed (xorshift).
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize
    }

    pub fn edit(&mut self) -> Edit {
        Edit::of(self.next() as u8, [self.next(), self.next(), self.next()])
    }
}
